//! What an answer that is no answer comes to in our words. Called by `mod.rs` with whatever the AWS library gives up with.

use std::error::Error as StdError;
use std::sync::Arc;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::super::figure::line;
use super::super::{Error, fault};

/// Codes that say who we are is not believed.
const STRANGERS: [&str; 10] = [
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "InvalidSecurity",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
];

/// The error of a question about `what`.
pub(super) fn error<E>(at: &Arc<str>, what: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    if let SdkError::ServiceError(said) = error {
        let (code, message) = (said.err().code(), said.err().message());
        return refused(at, what, said.raw().status().as_u16(), code, message);
    }
    if let Some(ours) = fault::chain(error).find_map(|cause| cause.downcast_ref::<Error>()) {
        return ours.clone();
    }
    if let Some(identity) =
        fault::chain(error).find_map(|cause| cause.downcast_ref::<CredentialsError>())
    {
        let detail = if matches!(identity, CredentialsError::CredentialsNotLoaded(_)) {
            "the pod has no AWS identity; hint: annotate its ServiceAccount (IRSA), or name keys in the Connection".to_owned()
        } else {
            format!("no AWS identity: {}", fault::detail(error))
        };
        return Error::AuthenticationFailed { at: Arc::clone(at), detail };
    }
    let detail = if let SdkError::ResponseError(said) = error {
        format!("status {}, {}", said.raw().status().as_u16(), fault::detail(error))
    } else {
        fault::detail(error)
    };
    Error::SourceFailed { at: Arc::clone(at), about: what.to_owned(), detail }
}

/// What a refusal with a code, or with none, means.
fn refused(
    at: &Arc<str>,
    what: &str,
    status: u16,
    code: Option<&str>,
    message: Option<&str>,
) -> Error {
    let at = Arc::clone(at);
    let said = match (code, message) {
        (Some(code), Some(message)) => line(&format!("{code}: {message}")),
        (Some(word), None) | (None, Some(word)) => line(word),
        (None, None) => format!("status {status}"),
    };
    // Some codes come with the name of the service before them, or with `Exception` after them.
    let code = code.unwrap_or_default();
    let code = code.rsplit('.').next().unwrap_or_default().trim_end_matches("Exception");
    match code {
        "NonExistentQueue" | "QueueDoesNotExist" => Error::NotFound { at, what: what.to_owned() },
        "AccessDenied" | "KMS.AccessDenied" | "OptInRequired" => {
            Error::AccessDenied { at, what: what.to_owned(), detail: said }
        }
        code if STRANGERS.contains(&code) => Error::AuthenticationFailed { at, detail: said },
        "InvalidAddress" | "InvalidAttributeName" | "UnsupportedOperation" => {
            Error::QueryRefused { at, detail: said }
        }
        "" if status == 401 => Error::AuthenticationFailed { at, detail: said },
        "" if status == 403 => Error::AccessDenied { at, what: what.to_owned(), detail: said },
        _ => Error::SourceFailed { at, about: what.to_owned(), detail: said },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_whether_somebody_must_mend_something() {
        let at: Arc<str> = "here".into();
        let label = |code: &str| refused(&at, "queue q", 400, Some(code), Some("no")).label();
        for (code, word) in [
            ("AWS.SimpleQueueService.NonExistentQueue", "NotFound"),
            ("QueueDoesNotExist", "NotFound"),
            ("AccessDeniedException", "AccessDenied"),
            ("AccessDenied", "AccessDenied"),
            ("InvalidClientTokenId", "AuthenticationFailed"),
            ("SignatureDoesNotMatch", "AuthenticationFailed"),
            ("UnrecognizedClientException", "AuthenticationFailed"),
            ("ExpiredTokenException", "AuthenticationFailed"),
            ("InvalidAddress", "QueryRefused"),
            ("RequestThrottled", "SourceFailed"),
            ("ThrottlingException", "SourceFailed"),
            ("InternalFailure", "SourceFailed"),
        ] {
            assert_eq!(label(code), word, "{code}");
        }
        for (status, word) in [
            (401, "AuthenticationFailed"),
            (403, "AccessDenied"),
            (400, "SourceFailed"),
            (503, "SourceFailed"),
        ] {
            assert_eq!(refused(&at, "queue q", status, None, None).label(), word, "{status}");
        }
    }
}
