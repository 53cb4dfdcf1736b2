//! The TOML: text as written, then values as meant, all faults together, no side effect before it is whole.
//!
//! ```text
//!   text -> toml (spans) -> read.rs, along keys.rs -> Document -> agencies, gateways, sessions, settings -> values
//!                                \________________________ Faults ________________________________/
//! ```
//!
//! Not serde's derive: that stops at the first fault, and tagged or flattened enums lose its place. The key table
//! also makes the reference file, the JSON schema and `explain`. Imports the domain only.

mod agencies;
mod explain;
mod fault;
pub mod fuzz;
mod gateways;
mod key;
mod keys;
mod mask;
mod near;
mod phones;
mod read;
mod references;
mod schema;
mod sessions;
mod settings;
mod sip_gateways;
mod trunks;
mod value;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::domain::configuration::{Configuration, Gateway, Policy};
use crate::domain::id::GatewayId;

pub use explain::{explain, reference, sections};
pub use fault::{FAULTS_MAX, Fault, Severity, render};
pub use phones::{PhoneAccount, Sip};
pub use schema::schema;
pub use settings::{Limits, SecretSource, Settings, Tls, Token};
pub use sip_gateways::{GatewayAccount, GatewayPassword};
pub use trunks::{Line, TrunkAccount, TrunkRegisters};

use fault::Faults;
use read::Document;

/// A region's agencies are some hundred kilobytes; what is larger is not a configuration.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// What a file means: settings for the shell, the configuration that is adopted, and warnings.
pub type Loaded = (Settings, Configuration, Vec<Fault>);

/// Reads and parses a file. Refuses with every fault of it, and its warnings.
pub fn load(path: &Path) -> Result<Loaded, Vec<Fault>> {
    let name = path.display().to_string();
    let unreadable = |message: String| Faults::alone(&name, message);
    let file = std::fs::File::open(path).map_err(|error| unreadable(format!("cannot open the file: {error}")))?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(format!("cannot read the file: {error}")))?;
    parse(text(&bytes, &name)?, &name)
}

/// What a file holds, as text; the name is only for faults.
pub fn text<'b>(bytes: &'b [u8], file_name: &str) -> Result<&'b str, Vec<Fault>> {
    std::str::from_utf8(bytes).map_err(|_| Faults::alone(file_name, "the file is not UTF-8 text".into()))
}

/// Where a text keeps its journal, also if it has faults elsewhere.
pub fn data_dir(text: &str) -> Option<PathBuf> {
    let (root, _) = DeTable::parse_recoverable(text);
    let server = root.get_ref().get("server")?.get_ref().as_table()?;
    Some(PathBuf::from(server.get("data_dir")?.get_ref().as_str()?))
}

/// Parses a text; the name is only for faults. Pure: the same text gives the same answer everywhere.
pub fn parse(text: &str, file_name: &str) -> Result<Loaded, Vec<Fault>> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Faults::alone(file_name, format!("the file has more than {FILE_BYTES_MAX} bytes")));
    }
    let mut faults = Faults::new(file_name, text);
    let (root, broken) = DeTable::parse_recoverable(text);
    for error in &broken {
        let message = format!("not TOML: {}", error.message());
        faults.fault(&error.span().unwrap_or(0..0), message, Some(mend(error.message()).into()));
    }
    faults.only_new_lines();
    let document = Document::read(root.get_ref(), &mut faults);
    references::check_references(&document, &mut faults);
    let settings = settings::settings(&document, &mut faults);
    let policy = sessions::policy(&document, &mut faults).unwrap_or_default();
    let configuration = configuration(&document, policy, &mut faults);
    if configuration.agencies.is_empty() {
        faults.warn(&(0..0), "there is no agency: nothing can be joined", Some("see config/two-agencies.toml".into()));
    }
    let warnings = faults.finish()?;
    debug_assert!(is_whole(&document, &configuration), "an entry without a fault has a value");
    let settings = settings.expect("settings are missing only where a fault was found, and there is none");
    Ok((settings, configuration, warnings))
}

/// Whether every entry of the file became a value.
fn is_whole(document: &Document, configuration: &Configuration) -> bool {
    let Configuration { agencies, talkgroups, gateways, agreements, templates, policy: _ } = configuration;
    document.all(&keys::AGENCY).len() == agencies.len()
        && document.all(&keys::TALKGROUP).len() == talkgroups.len()
        && [&keys::GATEWAY_RTP, &keys::GATEWAY_SIP, &keys::PHONE].map(|of| document.all(of).len()).iter().sum::<usize>()
            == gateways.len()
        && document.all(&keys::AGREEMENT).len() == agreements.len()
        && document.all(&keys::TEMPLATE).len() == templates.len()
}

/// What to do about the parser's complaint. Its words never repeat the file's.
fn mend(complaint: &str) -> &'static str {
    if complaint.contains("quoted") {
        "texts stand in quotes: key = \"text\""
    } else if complaint.contains("duplicate key") {
        "leave one of them out"
    } else if complaint.contains("inline table") {
        "an inline table stands on one line: { key = 1, other = 2 }"
    } else {
        "a line is [table], [[table]] or key = value; look for a quote, bracket or comma that is missing"
    }
}

fn gateways(document: &Document, faults: &mut Faults<'_>) -> BTreeMap<GatewayId, Gateway> {
    let mut all = gateways::gateways(document, faults);
    all.extend(sip_gateways::sip_gateways(document, faults));
    all.extend(phones::phones(document, faults));
    all
}

fn configuration(document: &Document, policy: Policy, faults: &mut Faults<'_>) -> Configuration {
    let agreements = sessions::agreements(document, &policy, faults);
    Configuration {
        agencies: agencies::agencies(document, faults),
        talkgroups: agencies::talkgroups(document, faults),
        gateways: gateways(document, faults),
        templates: sessions::templates(document, &policy, &agreements, faults),
        agreements,
        policy,
    }
}
