//! Addresses as KEDA's users write them: URLs with a login in them, connection strings of databases, locations in JSON.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// A URL, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Host and port.
    pub(super) host: String,
    /// With the slash that it begins with; empty where there is none.
    pub(super) path: String,
    /// Without the question mark.
    pub(super) query: Option<String>,
}

impl Url {
    /// Takes a URL apart; one without a scheme is none.
    pub(super) fn of(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (rest, None),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (login, host) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(login, host)| (Some(login), host));
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
        {
            Some((user, password)) => (Some(decoded(user)), Some(decoded(password))),
            None => (None, None),
        };
        let (host, path) = (host.to_owned(), path.to_owned());
        (!host.is_empty()).then(|| Self {
            scheme: scheme.to_owned(),
            user,
            password,
            host,
            path,
            query,
        })
    }

    /// Scheme and host.
    pub(super) fn root(&self) -> String {
        format!("{}://{}", self.scheme, self.host)
    }
}

/// Without the per cents that a URL has for odd letters.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Where a database is, and who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Database {
    pub(super) host: String,
    pub(super) port: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) name: String,
    /// How TLS is spelled, if it is.
    pub(super) tls: Option<String>,
}

impl Database {
    /// A connection string of PostgreSQL: a URL, or pairs of words.
    pub(super) fn of_postgres(text: &str) -> Option<Self> {
        if let Some(url) = Url::of(text) {
            return Some(Self::of_url(&url, "sslmode"));
        }
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        let mut pairs: BTreeMap<&str, String> =
            pairs.map(|(key, value)| (key, value.trim_matches('\'').to_owned())).collect();
        Some(Self {
            host: pairs.remove("host")?,
            port: pairs.remove("port"),
            user: pairs.remove("user"),
            password: pairs.remove("password"),
            name: pairs.remove("dbname")?,
            tls: pairs.remove("sslmode"),
        })
    }

    /// A connection string as Go's driver of MySQL has it: `user:password@tcp(host:port)/database`.
    pub(super) fn of_mysql(text: &str) -> Option<Self> {
        let (login, rest) = text.rsplit_once("@tcp(")?;
        let (authority, rest) = rest.split_once(")/")?;
        let url = Url::of(&format!("mysql://{authority}/{rest}"))?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (user, password) = (Some(user.to_owned()), Some(password.to_owned()));
        Some(Self { user, password, ..Self::of_url(&url, "tls") })
    }

    fn of_url(url: &Url, tls: &str) -> Self {
        let (host, port) = match url.host.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port.to_owned())),
            None => (url.host.clone(), None),
        };
        let query = url.query.as_deref().unwrap_or_default();
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let tls = pairs.find(|(key, _)| *key == tls).map(|(_, value)| value.to_owned());
        let name = decoded(url.path.trim_start_matches('/'));
        let (user, password) = (url.user.clone(), url.password.clone());
        Self { host, port, user, password, name, tls }
    }
}

/// A location of KEDA's (GJSON) as a JSON path; `None` where it does more than lead somewhere.
pub(super) fn json_path(location: &str) -> Option<String> {
    let step = |part: &String| {
        let is_word = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if part.bytes().all(|b| b.is_ascii_digit()) {
            format!("[{part}]")
        } else if is_word && !part.starts_with(|c: char| c.is_ascii_digit()) {
            format!(".{part}")
        } else {
            format!("['{}']", part.replace('\\', "\\\\").replace('\'', "\\'"))
        }
    };
    Some(format!("${}", parts(location)?.iter().map(step).collect::<String>()))
}

/// The parts between dots; a backslash takes the next letter as it is.
fn parts(location: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut letters = location.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => parts.last_mut()?.push(letters.next()?),
            '.' => parts.push(String::new()),
            '#' | '*' | '?' | '|' | '@' | '{' | '[' | '!' => return None,
            letter => parts.last_mut()?.push(letter),
        }
    }
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_a_url() {
        let url = Url::of("amqp://guest:p%40ss@rabbit.shop:5672/orders?x=1").unwrap();
        assert_eq!(url.root(), "amqp://rabbit.shop:5672");
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("guest"), Some("p@ss")));
        assert_eq!((url.path.as_str(), url.query.as_deref()), ("/orders", Some("x=1")));
        assert_eq!(Url::of("rabbit:5672"), None);
        assert_eq!(Url::of("http://"), None);
    }

    #[test]
    fn connection_strings_are_read_as_their_drivers_read_them() {
        let database = |host: &str, port: &str, tls: Option<&str>| Database {
            host: host.to_owned(),
            port: Some(port.to_owned()),
            user: Some("keda".to_owned()),
            password: Some("pass".to_owned()),
            name: "shop".to_owned(),
            tls: tls.map(str::to_owned),
        };
        assert_eq!(
            Database::of_postgres("postgresql://keda:pass@db.shop:5433/shop?sslmode=disable"),
            Some(database("db.shop", "5433", Some("disable")))
        );
        assert_eq!(
            Database::of_postgres("host=db port=5432 user=keda password='pass' dbname=shop"),
            Some(database("db", "5432", None))
        );
        assert_eq!(
            Database::of_mysql("keda:pass@tcp(mysql:3306)/shop?tls=true"),
            Some(database("mysql", "3306", Some("true")))
        );
        assert_eq!(Database::of_postgres("sslmode=disable"), None);
        assert_eq!(Database::of_mysql("mysql:3306"), None);
    }

    #[test]
    fn a_location_becomes_a_json_path_where_it_only_leads_somewhere() {
        for (location, path) in [
            ("tasks", Some("$.tasks")),
            ("components.worker.0.tasks", Some("$.components.worker[0].tasks")),
            ("queue\\.depth", Some("$['queue.depth']")),
            ("it's", Some("$['it\\'s']")),
            ("jobs.#", None),
            ("jobs.#(state==1).count", None),
            ("a..b", None),
            ("", None),
        ] {
            assert_eq!(json_path(location).as_deref(), path, "{location}");
        }
    }
}
