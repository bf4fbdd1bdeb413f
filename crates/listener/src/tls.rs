//! TLS of a listener: certificate and key from files that are read again when they change.

use std::{path::PathBuf, sync::Arc};

use neverstale_lifecycle::{Tasks, Watched};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use crate::ListenError;

/// The files of a certificate with its chain and of its key, both PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, then those that signed it.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

/// TLS as new connections speak it; clones share one configuration.
#[derive(Clone)]
pub struct ServerTls(Watched<ServerConfig>);

impl ServerTls {
    /// Reads the files where both are named; none means plain text. That one without the other is a mistake is found when
    /// the settings are read.
    ///
    /// # Errors
    /// As [`ServerTls::load`].
    pub fn where_named(
        task: &'static str,
        cert_file: Option<&PathBuf>,
        key_file: Option<&PathBuf>,
        tasks: &Tasks,
    ) -> Result<Option<Self>, ListenError> {
        let (Some(cert_file), Some(key_file)) = (cert_file.cloned(), key_file.cloned()) else {
            return Ok(None);
        };
        Self::load(task, TlsFiles { cert_file, key_file }, tasks).map(Some)
    }

    /// Reads the files, and again when they change: a renewed certificate counts for new connections.
    ///
    /// # Errors
    /// The files can't be read, or do not hold a certificate and its key.
    pub fn load(task: &'static str, files: TlsFiles, tasks: &Tasks) -> Result<Self, ListenError> {
        let TlsFiles { cert_file, key_file } = files;
        let watched = Watched::start(
            task,
            vec![cert_file, key_file],
            |contents| config(&contents[0], &contents[1]),
            tasks,
        );
        watched.map(Self).map_err(ListenError::File)
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.load()))
    }
}

fn config(cert: &[u8], key: &[u8]) -> Result<ServerConfig, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.map_err(|error| format!("the certificate is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in PEM form".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key is not PEM: {error}"))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| format!("certificate and key can't be used: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
