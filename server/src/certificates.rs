//! The development certificate authority and the server's certificate.
//!
//! Promise: the authority is made once and kept, so that a client that trusts it goes on trusting it; the server's
//! certificate names localhost, 127.0.0.1, ::1, this machine and the configured host names, and is renewed before it ends
//! or when it lacks one of them. Keys are readable by their owner only.
//! Not here: what is served with it (`listener`), who is told to trust it (`cli::env`).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gridpost_model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::files;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Ten years: the authority is trusted by hand, so it should not have to be trusted again.
const AUTHORITY_LIFE: Duration = DAY.saturating_mul(3650);

/// The longest life that every client accepts from a private authority is 825 days; a year is enough.
const CERTIFICATE_LIFE: Duration = DAY.saturating_mul(397);

/// A certificate that ends within a month is renewed at the next start.
const RENEWAL: Duration = DAY.saturating_mul(30);

/// Clocks of containers and machines differ; a certificate is valid from a day before it was made.
const BACKDATED: Duration = DAY;

/// Where the development certificates of a data folder are.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder inside that data folder.
    pub fn of(data: &Path) -> Self {
        Self(data.join("tls"))
    }

    /// The authority's certificate: the file that clients are told to trust.
    pub fn authority(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    fn authority_key(&self) -> PathBuf {
        self.0.join("ca.key")
    }

    fn certificate(&self) -> PathBuf {
        self.0.join("server.pem")
    }

    fn certificate_key(&self) -> PathBuf {
        self.0.join("server.key")
    }

    /// When the server's certificate ends, if there is one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn ends(&self) -> anyhow::Result<Timestamp> {
        let path = self.certificate();
        let der = CertificateDer::from_pem_file(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        let (_, certificate) = X509Certificate::from_der(&der)?;
        Ok(Timestamp::from_seconds(
            certificate.validity().not_after.timestamp(),
        ))
    }

    /// The certificate and key to serve with, made or renewed as needed. `host_names` are further names it is to carry.
    ///
    /// # Errors
    /// A file of the folder cannot be read, written or understood.
    pub fn ready(&self, now: Timestamp, host_names: &[String]) -> anyhow::Result<Identity> {
        files::make_private_folder(&self.0)?;
        let authority = self.authority_ready(now)?;
        let names = names(host_names);
        if !self.is_good(now, &names) {
            let (certificate, key) = issue(&authority, &names, now)?;
            files::write_private(&self.certificate_key(), key.as_bytes())?;
            files::write_private(&self.certificate(), certificate.as_bytes())?;
        }
        Identity::read(&self.certificate(), &self.certificate_key())
    }

    fn authority_ready(&self, now: Timestamp) -> anyhow::Result<Issuer<'static, KeyPair>> {
        if !self.authority().exists() || !self.authority_key().exists() {
            let (certificate, key) = make_authority(now)?;
            files::write_private(&self.authority_key(), key.as_bytes())?;
            files::write_private(&self.authority(), certificate.as_bytes())?;
        }
        let read = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
        };
        let key = KeyPair::from_pem(&read(&self.authority_key())?)
            .with_context(|| format!("reading the key in {}", self.authority_key().display()))?;
        Issuer::from_ca_cert_pem(&read(&self.authority())?, key)
            .with_context(|| format!("reading the certificate in {}", self.authority().display()))
    }

    /// Whether the certificate there can still be served: it names what it should, lasts, and comes from the authority.
    fn is_good(&self, now: Timestamp, names: &[SanType]) -> bool {
        let read = |path: &Path| CertificateDer::from_pem_file(path).ok();
        let (Some(own), Some(authority)) = (read(&self.certificate()), read(&self.authority()))
        else {
            return false;
        };
        let (Ok((_, own)), Ok((_, authority))) = (
            X509Certificate::from_der(&own),
            X509Certificate::from_der(&authority),
        ) else {
            return false;
        };
        let lasts = now + RENEWAL < Timestamp::from_seconds(own.validity().not_after.timestamp());
        let key_is_there = self.certificate_key().exists();
        lasts
            && key_is_there
            && own.issuer() == authority.subject()
            && named_in(&own) == plain(names)
    }
}

/// A certificate chain with its key, as TLS serves it.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads PEM files.
    ///
    /// # Errors
    /// A file is missing or has no certificate or key in it.
    pub fn read(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let what = || format!("reading the certificate in {}", certificate.display());
        let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
            .with_context(what)?
            .collect::<Result<_, _>>()
            .with_context(what)?;
        anyhow::ensure!(
            !chain.is_empty(),
            "there is no certificate in {}",
            certificate.display()
        );
        let key = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("reading the key in {}", key.display()))?;
        Ok(Self { chain, key })
    }

    /// The TLS settings of the port: HTTP/2 or HTTP/1.1, as the client likes.
    ///
    /// # Errors
    /// The key does not belong to the certificate.
    pub fn into_tls(self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .context("the certificate and the key do not belong together")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Clients of development tools connect anew for every command: a ticket saves them the signature.
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        Ok(Arc::new(config))
    }
}

/// The names a development certificate carries, each once.
fn names(host_names: &[String]) -> Vec<SanType> {
    let fixed = ["localhost", "*.eg.localhost"].map(str::to_owned);
    let configured = host_names.iter().filter_map(|name| host_name(name));
    let hosts = fixed.into_iter().chain(machine_name()).chain(configured);
    let hosts = hosts.filter_map(|name| Some(SanType::DnsName(name.try_into().ok()?)));
    let loopback = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    let configured = host_names.iter().filter_map(|name| address_named(name));
    let addresses = loopback.into_iter().chain(configured);
    let mut names = Vec::new();
    for name in hosts.chain(addresses.map(SanType::IpAddress)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The name in a configured host, which may have a port; `None` for an address and for what no certificate can name.
fn host_name(configured: &str) -> Option<String> {
    let name = match configured.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => configured,
    };
    let name = name.to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (!name.is_empty() && address_named(configured).is_none() && name.bytes().all(plain))
        .then_some(name)
}

/// The address in a configured host, which may have a port.
fn address_named(configured: &str) -> Option<IpAddr> {
    let with_port = configured.parse::<SocketAddr>().map(|one| one.ip());
    let bare = configured.trim_start_matches('[').trim_end_matches(']');
    with_port.or_else(|_| bare.parse()).ok()
}

fn machine_name() -> Option<String> {
    let name = rustix::system::uname()
        .nodename()
        .to_str()
        .ok()?
        .to_ascii_lowercase();
    let plain = !name.is_empty()
        && name != "localhost"
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    plain.then_some(name)
}

/// The names in one comparable form.
fn plain(names: &[SanType]) -> Vec<String> {
    let mut plain: Vec<String> = names
        .iter()
        .filter_map(|name| match name {
            SanType::DnsName(name) => Some(name.as_str().to_owned()),
            SanType::IpAddress(address) => Some(address.to_string()),
            _ => None,
        })
        .collect();
    plain.sort();
    plain
}

fn named_in(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let mut names: Vec<String> = extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect();
    names.sort();
    names
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::from(bytes).to_string());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::from(bytes).to_string()))
        .ok()
}

/// A new authority: certificate and key in PEM.
fn make_authority(now: Timestamp) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    let machine = machine_name().unwrap_or_else(|| "this machine".to_owned());
    parameters.distinguished_name = named(
        "Gridpost development",
        &format!("Gridpost development authority of {machine}"),
    );
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut parameters, now, AUTHORITY_LIFE);
    let certificate = parameters.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// A new certificate of the authority: chain and key in PEM.
fn issue(
    authority: &Issuer<'static, KeyPair>,
    names: &[SanType],
    now: Timestamp,
) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named("Gridpost development", "localhost");
    parameters.subject_alt_names = names.to_vec();
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clients that check strictly (Python 3.13 and later) want to see which authority key signed it.
    parameters.use_authority_key_identifier_extension = true;
    valid_for(&mut parameters, now, CERTIFICATE_LIFE);
    let certificate = parameters.signed_by(&key, authority)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn named(organization: &str, common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, organization);
    name.push(DnType::CommonName, common);
    name
}

fn valid_for(parameters: &mut CertificateParams, now: Timestamp, life: Duration) {
    let date = |moment: Timestamp| {
        let part = |pattern: &str| moment.format(pattern).parse::<u16>().unwrap_or(1);
        let small = |pattern: &str| u8::try_from(part(pattern)).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(part("%Y")), small("%m"), small("%d"))
    };
    parameters.not_before = date(now - BACKDATED);
    parameters.not_after = date(now + life);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_authority_stays_and_the_certificate_is_renewed_in_time() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::of(data.path());
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();

        folder.ready(moment("2026-01-01T00:00:00Z"), &[]).unwrap();
        let (authority, first) = (read(folder.authority()), read(folder.certificate()));
        assert_eq!(folder.ends().unwrap(), moment("2027-02-02T00:00:00Z"));

        folder.ready(moment("2026-12-31T00:00:00Z"), &[]).unwrap();
        assert_eq!(read(folder.certificate()), first);

        folder.ready(moment("2027-01-15T00:00:00Z"), &[]).unwrap();
        assert_ne!(read(folder.certificate()), first);
        assert_eq!(read(folder.authority()), authority);
    }

    #[test]
    fn a_certificate_that_lacks_a_configured_name_is_made_anew() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::of(data.path());
        let now = moment("2026-01-01T00:00:00Z");
        let named = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            folder.ready(now, &names).unwrap();
            let der = CertificateDer::from_pem_file(folder.certificate()).unwrap();
            named_in(&X509Certificate::from_der(&der).unwrap().1)
        };
        let plain = named(&[]);
        assert!(!plain.contains(&"my_app".to_owned()));
        let authority = fs::read(folder.authority()).unwrap();
        let more = named(&[
            "My_App:8480",
            "localhost",
            "10.0.0.7",
            "[fd00::7]:8480",
            "not a name",
            "",
        ]);
        let new: Vec<_> = more.iter().filter(|name| !plain.contains(name)).collect();
        assert_eq!(new, ["10.0.0.7", "fd00::7", "my_app"]);
        let first = fs::read(folder.certificate()).unwrap();
        named(&["My_App", "10.0.0.7", "fd00::7"]);
        assert_eq!(fs::read(folder.certificate()).unwrap(), first);
        assert_eq!(fs::read(folder.authority()).unwrap(), authority);
    }

    #[test]
    fn the_certificate_serves() {
        let data = tempfile::tempdir().unwrap();
        let identity = Folder::of(data.path())
            .ready(moment("2026-01-01T00:00:00Z"), &[])
            .unwrap();
        let tls = identity.into_tls().unwrap();
        assert_eq!(tls.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }

    #[test]
    fn keys_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::of(data.path());
        folder.ready(moment("2026-01-01T00:00:00Z"), &[]).unwrap();
        for path in [folder.authority_key(), folder.certificate_key()] {
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn a_damaged_certificate_is_replaced() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::of(data.path());
        folder.ready(moment("2026-01-01T00:00:00Z"), &[]).unwrap();
        fs::write(folder.certificate(), "not a certificate").unwrap();
        folder.ready(moment("2026-01-01T00:00:00Z"), &[]).unwrap();
        folder.ends().unwrap();
    }
}
