//! `gridpost env`: the variables that point unmodified clients at the running server.
//!
//! Source: reference management 1 and 8.3.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

use crate::certificates::Folder;
use crate::client::Client;
use crate::config::{Config, Profile};
use crate::credentials::{COMMUNICATION_RESOURCE, Credentials, NUMBER};
use crate::files;
use crate::output::{Exit, Failure, Format, Output, print};

/// In which form.
#[derive(clap::Args)]
#[group(multiple = false)]
pub(super) struct Arguments {
    /// As a JSON object
    #[arg(long)]
    json: bool,
    /// As lines of a .env file
    #[arg(long)]
    dotenv: bool,
    /// For az: the same, and signs it in (in a folder of its own, so that your other clouds stay as they are)
    #[arg(long)]
    az: bool,
}

pub(super) async fn run(
    arguments: &Arguments,
    config: &Config,
    output: Output,
) -> Result<(), Failure> {
    let client = Client::find_as_own(config)?;
    if client.server().profile == Profile::Production {
        return Err(Failure::said(
            Exit::Failed,
            "a server in the production profile has no built-in identities that this could print; your resources' \
             connection strings come from Resource Manager (listKeys)",
        ));
    }
    let connection_string = client.connection_string().await?;
    let credentials = Credentials::load(&config.data)?;
    let url = &client.server().url;
    let mut variables = for_sdks(url, &connection_string, &credentials);
    variables.push(("GRIDPOST_DATA", folder(&config.data)?));
    if let Some(authority) = &client.server().authority {
        let bundle = bundle(&Folder::of(&config.data), authority)?;
        variables.extend(trust(authority, &bundle));
    }
    if arguments.az {
        variables.extend(for_az(url, &config.data)?);
    }
    if arguments.json || output.format() == Format::Json {
        let object: Map<String, Value> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::String(value.clone())))
            .collect();
        print(&super::render::pretty(&Value::Object(object)));
        return Ok(());
    }
    let line: fn(&(&str, String)) -> String = match arguments.dotenv {
        true => |(name, value)| {
            format!(
                "{name}=\"{}\"",
                value.replace('\\', "\\\\").replace('"', "\\\"")
            )
        },
        false => |(name, value)| format!("export {name}={}", quoted(value)),
    };
    let mut lines: Vec<String> = variables.iter().map(line).collect();
    if arguments.az {
        lines.push(sign_in(&credentials));
    }
    print(&lines.join("\n"));
    Ok(())
}

type Variables = Vec<(&'static str, String)>;

fn for_sdks(url: &str, connection_string: &str, credentials: &Credentials) -> Variables {
    vec![
        ("GRIDPOST_URL", url.to_owned()),
        ("GRIDPOST_NUMBER", NUMBER.to_owned()),
        ("GRIDPOST_RESOURCE_ID", COMMUNICATION_RESOURCE.to_owned()),
        // The names that the services' own guides and samples use.
        (
            "COMMUNICATION_SERVICES_CONNECTION_STRING",
            connection_string.to_owned(),
        ),
        (
            "COMMUNICATION_SAMPLES_CONNECTION_STRING",
            connection_string.to_owned(),
        ),
        ("AZURE_AUTHORITY_HOST", url.to_owned()),
        ("AZURE_TENANT_ID", "adfs".to_owned()),
        ("AZURE_CLIENT_ID", credentials.client_id.clone()),
        (
            "AZURE_CLIENT_SECRET",
            credentials.client_secret.reveal().to_owned(),
        ),
        ("AZURE_SUBSCRIPTION_ID", credentials.subscription_id.clone()),
        ("AZURE_RESOURCE_GROUP", "gridpost".to_owned()),
    ]
}

/// The data folder as every directory finds it, so that commands work from the application's own, too.
fn folder(data: &Path) -> anyhow::Result<String> {
    let folder = data.canonicalize().context("finding the data folder")?;
    Ok(folder.display().to_string())
}

/// Node adds what it is given to what it trusts; Python replaces it, and so gets a bundle of both.
fn trust(authority: &Path, bundle: &Path) -> Variables {
    let (authority, bundle) = (
        authority.display().to_string(),
        bundle.display().to_string(),
    );
    vec![
        ("REQUESTS_CA_BUNDLE", bundle.clone()),
        ("SSL_CERT_FILE", bundle),
        ("NODE_EXTRA_CA_CERTS", authority),
    ]
}

fn for_az(url: &str, data: &Path) -> Result<Variables, Failure> {
    let folder = data
        .canonicalize()
        .context("finding the data folder")?
        .join("az");
    files::make_private_folder(&folder)?;
    // az remembers the cloud by itself, and would not notice that the port has changed.
    let _ = fs::remove_file(folder.join("cloudEndpoints.json"));
    Ok(vec![
        ("AZURE_CONFIG_DIR", folder.display().to_string()),
        (
            "ARM_CLOUD_METADATA_URL",
            format!("{url}/metadata/endpoints?api-version=2019-05-01"),
        ),
    ])
}

fn sign_in(credentials: &Credentials) -> String {
    format!(
        "az login --service-principal -u {} -p {} --tenant {} --output none",
        quoted(&credentials.client_id),
        quoted(credentials.client_secret.reveal()),
        quoted(&credentials.tenant_id),
    )
}

/// Our authority and those of the system in one file, so that other servers stay trusted in the same shell.
fn bundle(folder: &Folder, authority: &Path) -> anyhow::Result<PathBuf> {
    let mut bundle = fs::read_to_string(authority)
        .with_context(|| format!("reading the certificate authority {}", authority.display()))?;
    // Certificates of the system that cannot be read are missing for every other program as well.
    for certificate in rustls_native_certs::load_native_certs().certs {
        bundle.push_str(&pem(&certificate));
    }
    let path = folder.authority().with_file_name("bundle.pem");
    files::write_private(&path, bundle.as_bytes())?;
    Ok(path.canonicalize()?)
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// A word that a shell reads as it is.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_value_as_it_is() {
        assert_eq!(quoted("a b;c"), "'a b;c'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn the_folder_is_found_from_everywhere() {
        assert!(Path::new(&folder(Path::new(".")).unwrap()).is_absolute());
    }

    #[test]
    fn a_bundle_holds_the_authority_in_a_form_that_can_be_read() {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject as _;
        let pem = pem(&[7; 100]);
        assert_eq!(
            CertificateDer::from_pem_slice(pem.as_bytes())
                .unwrap()
                .as_ref(),
            [7; 100]
        );
    }
}
