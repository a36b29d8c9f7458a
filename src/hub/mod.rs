//! Models from a hub that speaks Hugging Face's protocol: what a repository holds, and its files, checked
//! and kept in the cache that other programs of that hub share.
//!
//! ```text
//!  Settings (environment) -> Client -> Listing (commit, files, licence) -> fetch -> Snapshot (folder, digests)
//! ```
//!
//! The crate `hf-hub` was looked at first. 1.0 stands on reqwest with aws-lc, which needs cmake, and on the Xet client,
//! about 300 crates in all; it fetches a file anew after a broken connection and checks no digest. 0.5 is
//! superseded: its blocking half appends what comes after a broken connection even where the server sent the whole file, and
//! knows neither digests, sizes, offline use nor most of the environment; without that half it is four paths and a crate under
//! the MPL. So this is our own, on `ureq`; the layout of the cache is the one that `huggingface_hub` documents
//! (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>), down to the locks.

mod address;
mod cache;
mod client;
mod download;
mod error;
mod exports;
mod http;
mod licence;
mod listing;
mod pace;
mod retry;
mod settings;
mod url;

pub use address::{Repository, Revision};
pub use client::{Client, Event, FetchedFile, Snapshot, Watch};
pub use error::HubError;
pub use exports::known_export;
pub use licence::{Licence, Terms};
pub use listing::{Card, FileDigest, Listing, RemoteFile};
pub use retry::Patience;
pub use settings::{Settings, Token};
