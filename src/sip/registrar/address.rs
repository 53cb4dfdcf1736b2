//! When two contacts are the same (RFC 3261 section 19.1.4), as one spelling for both.

/// Scheme, host and parameters do not care for case or order, the user part does. Unlike the RFC, a parameter that only
/// one of them has tells them apart: a phone writes its own contact the same way every time, and two contacts too many
/// are better than one too few. Headers are no part of an address.
pub(super) fn canonical(uri: &str) -> String {
    let uri = uri.split('?').next().unwrap_or_default().trim();
    let (scheme, rest) = uri.split_once(':').unwrap_or(("", uri));
    let (user, place) = rest.rsplit_once('@').map_or(("", rest), |(user, place)| (user, place));
    let mut parts = place.split(';').map(|part| part.trim().to_ascii_lowercase());
    let host = parts.next().unwrap_or_default();
    let mut parameters: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
    parameters.sort();
    let mut text = format!("{}:{user}@{host}", scheme.to_ascii_lowercase());
    for parameter in parameters {
        text.push(';');
        text.push_str(&parameter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_one_and_different_addresses_are_not() {
        let one = "sip:Alice@Example.com:5060;transport=TCP;lr";
        for same in
            ["SIP:Alice@EXAMPLE.com:5060;LR;Transport=tcp", "sip:Alice@example.com:5060;lr;transport=tcp?Subject=x"]
        {
            assert_eq!(canonical(one), canonical(same), "{same}");
        }
        for other in [
            "sip:alice@example.com:5060;transport=tcp;lr",
            "sips:Alice@example.com:5060;transport=tcp;lr",
            "sip:Alice@example.com;transport=tcp;lr",
            "sip:Alice@example.com:5060;transport=udp;lr",
            "sip:Alice@example.com:5060;lr",
            "sip:example.com:5060;transport=tcp;lr",
        ] {
            assert_ne!(canonical(one), canonical(other), "{other}");
        }
        assert_eq!(canonical("sip:[2001:DB8::1]:5060"), canonical("sip:[2001:db8::1]:5060"));
        assert_ne!(canonical("sip:a;b@c"), canonical("sip:a@c;b"), "a semicolon of the user is the user's");
    }
}
