//! What the errors of transports and Secrets come to, for sources that speak through a library. Called by them; says what the innermost
//! cause is and never shows a credential.

use std::sync::Arc;

use super::figure::line;
use super::{Credentials, Error};

/// What became of a request that has no answer.
pub(super) fn transport(at: &Arc<str>, error: &(dyn std::error::Error + 'static)) -> Error {
    use tokio_rustls::rustls::Error as Tls;
    let at = Arc::clone(at);
    let detail = detail(error);
    let is_timeout = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout)
    };
    if chain(error).any(<dyn std::error::Error>::is::<Tls>) {
        Error::TlsFailed { at, detail }
    } else if chain(error).any(is_timeout) {
        Error::Timeout { at, detail }
    } else {
        Error::Unreachable { at, detail }
    }
}

/// The innermost cause, which says most; never the URL.
pub(super) fn detail(error: &(dyn std::error::Error + 'static)) -> String {
    line(&chain(error).last().map(ToString::to_string).unwrap_or_default())
}

/// A cause behind a pointer, as the redis crate keeps it.
type Shared = Arc<dyn std::error::Error + Send + Sync>;

/// An error and its causes, outermost first. What an I/O error wraps is a cause, too, though `source` leaps over it; so is what a pointer
/// leads to.
pub(super) fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |cause| {
        if let Some(shared) = cause.downcast_ref::<Shared>() {
            return Some(&**shared);
        }
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        wrapped
            .map(|inner| -> &(dyn std::error::Error + 'static) { inner })
            .or_else(|| cause.source())
    })
}

/// A credential that is text.
pub(super) fn text(
    at: &Arc<str>,
    keys: &Credentials,
    usage: &'static str,
) -> Result<String, Error> {
    let invalid = |detail: &str| Error::CredentialsInvalid {
        at: Arc::clone(at),
        usage,
        detail: detail.to_owned(),
    };
    let bytes = keys.bytes(usage).ok_or_else(|| invalid("there is none"))?;
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))?;
    // A file put into a Secret often ends with a line feed that is no part of the word.
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
