//! What an HTTP source asks, and how every connection that speaks HTTP logs in.

use ::http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};

use super::login::Found;
use super::source::{Draft, SLOW_POLL, unit};
use super::{Fault, Reader, SecretWanted};
use crate::crd::login::{HttpLogin, OAuth2};
use crate::crd::rules;
use crate::crd::source::Http;
use crate::observe::web::{self, Login};
use crate::observe::{Address, Ask, http};

/// The schemes of HTTP.
const SCHEMES: &[&str] = &["http", "https"];

impl Reader<'_> {
    /// Reads an HTTP source.
    pub(super) fn http(&mut self, at: &str, written: &Http) -> Draft {
        let per_replica = self.threshold(format!("{at}.perReplica"), written.per_replica.as_ref());
        if let Some(path) = &written.path {
            self.text(format!("{at}.path"), path, 2048);
            let is_plain = path.chars().all(|c| c.is_ascii_graphic() && c != '#');
            // A path with a scheme would lead the login elsewhere.
            if !is_plain || path.contains("://") || path.starts_with("//") {
                self.refuse(format!("{at}.path"), "must be a path, perhaps with a query");
            }
            // Nor may it leave what the Connection's URL opens.
            let (before, _) = path.split_once('?').unwrap_or((path, ""));
            let plain = before.to_ascii_lowercase().replace("%2e", ".");
            if plain.split(['/', '\\']).any(|segment| segment == "." || segment == "..") {
                let hint = "must lead down from the Connection's URL, without a segment . or ..";
                self.refuse(format!("{at}.path"), hint);
            }
        }
        self.text(format!("{at}.jsonPath"), &written.json_path, 1024);
        if let Some(fault) = http::path_fault(&written.json_path) {
            self.refuse(format!("{at}.jsonPath"), fault);
        }
        let ask = Ask::Http(http::Ask {
            path: written.path.clone().unwrap_or_default(),
            json_path: written.json_path.clone(),
            unit: unit(per_replica),
        });
        let place = self.found(at, &written.connection_ref).and_then(|found| {
            let login = found.kind.http.as_ref().ok_or_else(|| found.mismatch("http"))?;
            let (address, secrets) = found.web("spec.http", login)?;
            Ok((Address::Http(address), secrets))
        });
        Draft { default_poll: SLOW_POLL, per_replica, ask, place }
    }
}

impl Found {
    /// The address of an HTTP server, and the Secrets to log in with.
    pub(super) fn web(
        &self,
        at: &str,
        written: &HttpLogin,
    ) -> Result<(web::Address, Vec<SecretWanted>), Fault> {
        let url = self.url(&format!("{at}.url"), &written.url, SCHEMES)?;
        if written.tls.is_some() && !url.starts_with("https://") {
            return Err(
                self.invalid(&format!("{at}.tls"), "goes with a URL that begins with https://")
            );
        }
        let mut secrets = self.tls(at, written.tls.as_ref())?;
        for (name, value) in &written.headers {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let is_secret = parsed.as_ref().is_ok_and(|it| *it == AUTHORIZATION || *it == COOKIE);
            if parsed.is_err() || is_secret || HeaderValue::from_str(value).is_err() {
                let field = format!("{at}.headers[{name}]");
                return Err(self.invalid(&field, "is no header that may be written here"));
            }
        }
        let headers = written.headers.iter();
        Ok((
            web::Address {
                connection: self.id.clone(),
                url,
                headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
                login: self.web_login(at, written, &mut secrets)?,
            },
            secrets,
        ))
    }

    /// Where tokens are bought and for what, and the Secrets it takes.
    pub(super) fn oauth2(
        &self,
        at: &str,
        written: &OAuth2,
        secrets: &mut Vec<SecretWanted>,
    ) -> Result<(String, Vec<String>), Fault> {
        let token_url = self.url(&format!("{at}.oauth2.tokenUrl"), &written.token_url, SCHEMES)?;
        secrets.extend(self.secret(Some(&written.client_id_secret_ref), "client-id"));
        secrets.extend(self.secret(Some(&written.client_secret_secret_ref), "client-secret"));
        Ok((token_url, written.scopes.clone()))
    }

    fn web_login(
        &self,
        at: &str,
        written: &HttpLogin,
        secrets: &mut Vec<SecretWanted>,
    ) -> Result<Login, Fault> {
        let (name, password) = (&written.username_secret_ref, &written.password_secret_ref);
        if name.is_some() != password.is_some() {
            return Err(self.invalid(at, rules::NAME_WITH_PASSWORD));
        }
        secrets.extend(self.secret(name.as_ref(), "username"));
        secrets.extend(self.secret(password.as_ref(), "password"));
        secrets.extend(self.secret(written.token_secret_ref.as_ref(), "token"));
        match (name, &written.token_secret_ref, &written.oauth2) {
            (None, None, None) => Ok(Login::Nobody),
            (Some(_), None, None) => Ok(Login::Basic),
            (None, Some(_), None) => Ok(Login::Bearer),
            (None, None, Some(oauth2)) => {
                let (token_url, scopes) = self.oauth2(at, oauth2, secrets)?;
                Ok(Login::OAuth2 { token_url, scopes })
            }
            _ => Err(self.invalid(at, rules::ONE_LOGIN)),
        }
    }
}
