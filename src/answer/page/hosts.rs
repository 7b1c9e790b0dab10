//! The names by which the page may be asked for. A site of elsewhere can have its own name lead to this address (DNS rebinding), and then
//! its scripts read what is served here by the hand of whoever has it open. A browser says in `Host` by which name it asks, and that is what gives it away.
//! Called for each request by the page's router.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::super::failure;

/// A name by which the page may be asked for: in lower case, without a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(String);

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_named = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if text.is_empty() || text.len() > 253 || !text.chars().all(is_named) {
            return Err(format!("{text:?} is no name of a host; hint: penstock.example.com"));
        }
        Ok(Self(plain(text)))
    }
}

/// The names that were given, beside those that are always good. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<BTreeSet<Host>>);

impl FromIterator<Host> for Hosts {
    fn from_iter<T: IntoIterator<Item = Host>>(given: T) -> Self {
        Self(Arc::new(given.into_iter().collect()))
    }
}

impl Hosts {
    /// May one ask by this name, as it stands in `Host`? An address may always: nobody can have it lead elsewhere. `localhost` and
    /// what is below it lead to loopback and nowhere else (RFC 6761).
    fn admits(&self, host: &str) -> bool {
        let name = plain(without_port(host));
        let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        name == "localhost"
            || name.ends_with(".localhost")
            || address.unwrap_or(&name).parse::<IpAddr>().is_ok()
            || self.0.contains(&Host(name))
    }

    /// Is it, as it stands in `Host`, one of the names that were given?
    pub(super) fn names(&self, host: &str) -> bool {
        self.0.contains(&Host(plain(without_port(host))))
    }
}

/// `[::1]:8082` and `localhost:8082` without their port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !is_open(name) => name,
        _ => host,
    }
}

/// Within the brackets of an address of IPv6, or such an address without any.
fn is_open(name: &str) -> bool {
    name.contains(':') && !name.ends_with(']')
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// By which name and port one asks.
pub(super) fn said(request: &Request) -> Option<&str> {
    let said = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    request.uri().authority().map(Authority::as_str).or(said)
}

/// Answers whoever asks by a good name. One who says none is no browser.
pub(in crate::answer) async fn known(
    State(hosts): State<Hosts>,
    request: Request,
    next: Next,
) -> Response {
    match said(&request) {
        Some(host) if !hosts.admits(host) => failure(
            StatusCode::MISDIRECTED_REQUEST,
            "MisdirectedRequest",
            &format!(
                "this page is not asked for by the name {:?}; hint: localhost, an address, or a name that --page-host gives",
                without_port(host)
            ),
        ),
        _ => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_can_have_lead_elsewhere_are_good_and_others_are_not() {
        let hosts: Hosts = ["Penstock.example.com".parse().unwrap()].into_iter().collect();
        for good in [
            "localhost",
            "localhost:8082",
            "LOCALHOST:1",
            "localhost.",
            "a.localhost:80",
            "127.0.0.1:8082",
            "127.0.0.1",
            "[::1]:8082",
            "[::1]",
            "10.1.2.3:8082",
            "penstock.example.com",
            "penstock.EXAMPLE.com:443",
        ] {
            assert!(hosts.admits(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:8082",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example:8082",
            "sub.penstock.example.com",
            "example.com",
            "127.0.0.1:8082.evil.example",
            "[::1].evil.example",
            "2130706433",
        ] {
            assert!(!hosts.admits(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_name_of_a_host_is_refused() {
        for wrong in ["", "http://a", "a:80", "a b", "*.example.com"] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
    }
}
