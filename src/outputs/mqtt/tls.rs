//! TLS to the broker: rustls with ring, and nothing but it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::options::Options;

/// Whom to trust and who we are, as the options say.
pub(super) fn config(options: &Options) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities(options.ca_file.as_deref())?);
    match (&options.cert_file, &options.key_file) {
        (Some(cert), Some(key)) => {
            let own = certificates(cert).context("mqtt.cert_file")?;
            let key = PrivateKeyDer::from_pem_file(key).with_context(|| {
                format!("mqtt.key_file: {} holds no private key in PEM", key.display())
            })?;
            builder.with_client_auth_cert(own, key).context("mqtt.cert_file and key_file")
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn authorities(file: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = file {
        for certificate in certificates(file).context("mqtt.ca_file")? {
            roots.add(certificate).context("mqtt.ca_file")?;
        }
    } else {
        let (added, _) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        ensure!(
            added > 0,
            "this system has no certificates of authorities: install them (Debian: ca-certificates), or give mqtt.ca_file"
        );
    }
    Ok(roots)
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.with_context(|| format!("{} can't be read", file.display()))?;
    ensure!(!certificates.is_empty(), "{} holds no certificate in PEM", file.display());
    Ok(certificates)
}
