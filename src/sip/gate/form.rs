//! The forms of single values (RFC 3261 section 25.1), as strict as telling them apart needs and no stricter.

use super::GateFault;
use super::head::is_token;

/// Digits only; `None` also for more than 64 bits hold.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The method of `4711 INVITE`.
pub(super) fn cseq(value: &[u8]) -> Result<&[u8], GateFault> {
    let end = value.iter().position(|byte| is_space(*byte)).ok_or(GateFault::CSeq)?;
    let method = value[end..].trim_ascii();
    // Section 8.1.1.5: less than 2^31.
    let good = number(&value[..end]).is_some_and(|number| number < 1 << 31);
    if good && !method.is_empty() && method.iter().all(is_token) { Ok(method) } else { Err(GateFault::CSeq) }
}

/// A scheme we know and a place, or any URI whose scheme we do not: the two have different answers.
pub(super) fn request_uri(uri: &[u8]) -> Result<(), GateFault> {
    if uri.iter().any(|byte| matches!(byte, b'<' | b'>' | b'"') || byte.is_ascii_control()) {
        return Err(GateFault::RequestUri);
    }
    let (scheme, rest) = scheme(uri).ok_or(GateFault::RequestUri)?;
    let is = |known: &str| scheme.eq_ignore_ascii_case(known.as_bytes());
    if is("tel") {
        return Ok(());
    }
    if !is("sip") && !is("sips") {
        return Err(GateFault::Scheme);
    }
    // A question mark is allowed in the user part, headers are not in a request URI (section 19.1.1).
    let place = rest.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    if place.contains(&b'?') || !is_place(place.split(|byte| *byte == b';').next().unwrap_or_default()) {
        return Err(GateFault::RequestUri);
    }
    Ok(())
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn is_place(place: &[u8]) -> bool {
    let (host, port) = match place.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let address = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse().ok());
            let Some(std::net::IpAddr::V6(_)) = address else { return false };
            (&rest[..end], &rest[end + 1..])
        }
        None => {
            let end = place.iter().position(|byte| *byte == b':').unwrap_or(place.len());
            let host = &place[..end];
            if !host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte)) {
                return false;
            }
            (host, &place[end..])
        }
    };
    let port_is_good = match port {
        [] => true,
        [b':', digits @ ..] => number(digits).is_some_and(|port| (1..=65_535).contains(&port)),
        _ => false,
    };
    !host.is_empty() && port_is_good
}

/// How many values one Via line has, all of them good.
pub(super) fn via(line: &[u8]) -> Result<usize, GateFault> {
    let values = split(line, b',').ok_or(GateFault::Via)?;
    if values.iter().all(|value| is_via(value)) { Ok(values.len()) } else { Err(GateFault::Via) }
}

fn is_via(value: &[u8]) -> bool {
    let Some(parts) = split(value, b';') else { return false };
    let Some((sent, parameters)) = parts.split_first() else { return false };
    // `SIP / 2.0 / UDP host`: slashes with or without space around them.
    let protocol: Vec<&[u8]> = sent.splitn(3, |byte| *byte == b'/').map(<[u8]>::trim_ascii).collect();
    let [name, version, rest] = protocol[..] else { return false };
    let Some(end) = rest.iter().position(|byte| is_space(*byte)) else { return false };
    let (transport, host) = (&rest[..end], rest[end..].trim_ascii());
    let squeezed: Vec<u8> = host.iter().copied().filter(|byte| !is_space(*byte)).collect();
    let protocol_is_good = name.eq_ignore_ascii_case(b"SIP") && version == b"2.0";
    let transport_is_good = !transport.is_empty() && transport.iter().all(is_token);
    protocol_is_good
        && transport_is_good
        && is_place(&squeezed)
        && parameters.iter().all(|parameter| is_via_parameter(parameter))
}

fn is_via_parameter(parameter: &[u8]) -> bool {
    let (name, value) = halves(parameter);
    if name.is_empty() || !name.iter().all(is_token) {
        return false;
    }
    // The cookie alone names no transaction (RFC 4475 section 3.2.1).
    !(name.eq_ignore_ascii_case(b"branch") && value.is_some_and(|branch| branch.eq_ignore_ascii_case(b"z9hG4bK")))
}

/// All values of one Contact line.
pub(super) fn addresses(line: &[u8]) -> Result<(), GateFault> {
    split(line, b',').ok_or(GateFault::Address)?.into_iter().try_for_each(address)
}

/// `"Name" <uri>;parameter` or `uri;parameter`.
pub(super) fn address(value: &[u8]) -> Result<(), GateFault> {
    let good = match outside_quotes(value, b'<').ok_or(GateFault::Address)? {
        Some(open) => {
            let (display, rest) = (value[..open].trim_ascii(), &value[open + 1..]);
            let close = rest.iter().position(|byte| *byte == b'>').ok_or(GateFault::Address)?;
            is_display_name(display) && is_uri(&rest[..close]) && are_parameters(rest[close + 1..].trim_ascii_start())
        }
        None => {
            let (uri, parameters) =
                value.iter().position(|byte| *byte == b';').map_or((value, &[][..]), |at| value.split_at(at));
            // Without brackets these would be taken for the header's own (section 20.10).
            is_uri(uri.trim_ascii()) && !uri.iter().any(|byte| b"?,\"".contains(byte)) && are_parameters(parameters)
        }
    };
    if good { Ok(()) } else { Err(GateFault::Address) }
}

/// A quoted string, or words; nothing at all is fine.
fn is_display_name(display: &[u8]) -> bool {
    match display {
        [b'"', .., b'"'] => outside_quotes(display, b'"').is_some(),
        _ => display.iter().all(|byte| is_token(byte) || is_space(*byte)),
    }
}

fn is_uri(uri: &[u8]) -> bool {
    let clean = !uri.iter().any(|byte| is_space(*byte) || byte.is_ascii_control() || matches!(byte, b'<' | b'>'));
    clean && scheme(uri).is_some_and(|(_, rest)| !rest.is_empty())
}

/// `;name=value;name`, none of them empty.
fn are_parameters(parameters: &[u8]) -> bool {
    if parameters.is_empty() {
        return true;
    }
    let Some(rest) = parameters.strip_prefix(b";") else { return false };
    let Some(all) = split(rest, b';') else { return false };
    all.into_iter().all(|parameter| {
        let (name, value) = halves(parameter);
        !name.is_empty() && name.iter().all(is_token) && value != Some(b"")
    })
}

fn halves(parameter: &[u8]) -> (&[u8], Option<&[u8]>) {
    match parameter.iter().position(|byte| *byte == b'=') {
        Some(at) => (parameter[..at].trim_ascii(), Some(parameter[at + 1..].trim_ascii())),
        None => (parameter.trim_ascii(), None),
    }
}

fn scheme(uri: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = uri.iter().position(|byte| *byte == b':')?;
    let (scheme, rest) = (&uri[..at], &uri[at + 1..]);
    let good = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    good.then_some((scheme, rest))
}

/// Parts between separators that stand outside quotes and angle brackets; `None` if a quote or bracket stays open.
pub(in crate::sip) fn split(value: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut parts, mut from, mut quoted, mut escaped, mut bracket) = (Vec::new(), 0, false, false, false);
    for (at, byte) in value.iter().enumerate() {
        match *byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !bracket => quoted = !quoted,
            b'<' if !quoted => bracket = true,
            b'>' if !quoted => bracket = false,
            byte if byte == separator && !quoted && !bracket => {
                parts.push(value[from..at].trim_ascii());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(value[from..].trim_ascii());
    (!quoted && !bracket).then_some(parts)
}

/// Where this byte first stands outside quotes, if it does; `None` if a quote stays open.
fn outside_quotes(value: &[u8], wanted: u8) -> Option<Option<usize>> {
    let (mut quoted, mut escaped, mut found) = (false, false, None);
    for (at, byte) in value.iter().enumerate() {
        match *byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if byte == wanted && !quoted => {
                found = Some(at);
                break;
            }
            _ => {}
        }
    }
    if quoted { None } else { Some(found) }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
