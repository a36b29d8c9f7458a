//! Video4Linux2's structures, from the kernel's user-space header: see README.md.
#![allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub)]
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals)]

include!("bindings.rs");

// What the header's own sizes are; the numbers of the kernel's calls are made of them.
#[cfg(target_pointer_width = "64")]
const SIZES: [usize; 3] = [88, 208, 204];
#[cfg(target_pointer_width = "32")]
const SIZES: [usize; 3] = [68, 204, 204];
const _: () = assert!(size_of::<v4l2_buffer>() == SIZES[0]);
const _: () = assert!(size_of::<v4l2_format>() == SIZES[1]);
const _: () = assert!(size_of::<v4l2_streamparm>() == SIZES[2]);
