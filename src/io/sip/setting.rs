//! What the exchange is made of, from `[sip]` and its tables: accounts, lines, trunks and gateways, with their passwords.
//! A password that cannot be read shuts its owner out, and is told; the others go on.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use crate::config::{GatewayAccount, GatewayPassword, PhoneAccount, Sip, TrunkAccount, TrunkRegisters};
use crate::io::secret;
use crate::sip::digest::{Algorithm, DigestSecret};
use crate::sip::exchange::{Place, Setting};
use crate::sip::flow::Transport;
use crate::sip::standing::GatewaySetting;
use crate::sip::trunk::{Account, TrunkSetting};

/// # Errors
/// In words, if the system gives no randomness.
pub(super) fn setting(sip: &Sip, (here, here_tcp): (SocketAddr, Option<SocketAddr>)) -> Result<Setting, String> {
    let mut secrets = BTreeMap::new();
    for PhoneAccount { phone, user, secret, dialled: _, srtp: _ } in &sip.accounts {
        match secret::read(secret) {
            Ok(password) if !password.is_empty() => {
                secrets.insert(user.clone(), DigestSecret::new(user, &sip.realm, &password));
            }
            Ok(_) => tracing::error!(%phone, "an empty password shuts its phone out"),
            Err(fault) => tracing::error!(%phone, fault, "a password cannot be read: its phone is shut out"),
        }
    }
    let place = |account: &PhoneAccount| Place {
        phone: account.phone.clone(),
        user: account.user.clone(),
        is_line: false,
        dialled: account.dialled.clone(),
        srtp: account.srtp,
    };
    let trunks = sip.trunks.iter().map(|trunk| trunk_setting(trunk, &sip.realm, &mut secrets)).collect();
    let gateways =
        sip.gateways.iter().filter_map(|gateway| gateway_setting(gateway, &sip.realm, &mut secrets)).collect();
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut()).map_err(|fault| format!("no randomness for telephony: {fault}"))?;
    Ok(Setting {
        here,
        here_tcp,
        realm: sip.realm.clone(),
        digests: [(sip.sha256, Algorithm::Sha256), (sip.md5, Algorithm::Md5)]
            .into_iter()
            .filter_map(|(is_asked, algorithm)| is_asked.then_some(algorithm))
            .collect(),
        codecs: sip.codecs.clone(),
        keys_in_clear: sip.keys_in_clear,
        places: sip.accounts.iter().map(place).chain(lines(sip)).collect(),
        secrets,
        trunks,
        gateways,
        emergency_numbers: sip.emergency_numbers.clone(),
        key,
    })
}

/// Places of trunks.
fn lines(sip: &Sip) -> impl Iterator<Item = Place> {
    sip.lines.iter().filter_map(|line| {
        let trunk = sip.trunks.iter().find(|trunk| trunk.id == line.trunk)?;
        let user = match &trunk.registers {
            TrunkRegisters::Theirs { user, .. } => user.clone(),
            TrunkRegisters::Nobody | TrunkRegisters::Ours { .. } => Place::user_of_trunk(&trunk.id),
        };
        let (phone, dialled) = (line.phone.clone(), line.dialled.clone());
        Some(Place { phone, user, is_line: true, dialled, srtp: line.srtp })
    })
}

fn trunk_setting(trunk: &TrunkAccount, our_realm: &str, secrets: &mut BTreeMap<String, DigestSecret>) -> TrunkSetting {
    let TrunkAccount { id, peers, registers, emergency } = trunk;
    let mut setting =
        TrunkSetting { id: id.clone(), peers: peers.clone(), registers: None, registered: None, emergency: *emergency };
    let (user, realm, source) = match registers {
        TrunkRegisters::Nobody => return setting,
        TrunkRegisters::Ours { user, realm, secret, .. } => (user, realm.as_str(), secret),
        TrunkRegisters::Theirs { user, secret } => (user, our_realm, secret),
    };
    let secret = match secret::read(source) {
        Ok(password) if !password.is_empty() => DigestSecret::new(user, realm, &password),
        Ok(_) | Err(_) => {
            tracing::error!(trunk = %id, "the password is empty or cannot be read: nobody comes through this trunk");
            setting.peers.clear();
            return setting;
        }
    };
    match registers {
        TrunkRegisters::Ours { domain, .. } => {
            let (user, realm, domain) = (user.clone(), realm.to_owned(), domain.clone());
            setting.registers = Some(Account { user, realm, domain, secret });
        }
        TrunkRegisters::Nobody | TrunkRegisters::Theirs { .. } => {
            secrets.insert(user.clone(), secret);
            setting.registered = Some(user.clone());
        }
    }
    setting
}

/// `None`: it was to be proved who it is, and nobody can.
fn gateway_setting(
    gateway: &GatewayAccount,
    our_realm: &str,
    secrets: &mut BTreeMap<String, DigestSecret>,
) -> Option<GatewaySetting> {
    let mut setting = GatewaySetting {
        id: gateway.id.clone(),
        peer: gateway.peer,
        transport: if gateway.over_tcp { Transport::Tcp } else { Transport::Udp },
        number: gateway.number.clone(),
        is_called: gateway.is_called,
        account: None,
        proves: None,
        codecs: gateway.codecs.clone(),
        events_needed: gateway.by_events,
        retry_min_ms: u64::from(gateway.retry_min_s) * 1000,
        retry_max_ms: u64::from(gateway.retry_max_s) * 1000,
    };
    let Some(GatewayPassword { user, realm, secret }) = &gateway.password else { return Some(setting) };
    let password = secret::read(secret).ok().filter(|password| !password.is_empty());
    let Some(password) = password else {
        tracing::error!(gateway = %gateway.id, "the password is empty or cannot be read: there is no call with it");
        return None;
    };
    match realm {
        Some(realm) => {
            let secret = DigestSecret::new(user, realm, &password);
            setting.account = Some(Account { user: user.clone(), realm: realm.clone(), domain: None, secret });
        }
        None => {
            secrets.insert(user.clone(), DigestSecret::new(user, our_realm, &password));
            setting.proves = Some(user.clone());
        }
    }
    Some(setting)
}
