//! An API server that says what a test tells it to: a function from request to answer, behind a real `kube::Client`.
//! For the answers that a well-behaved server does not give; everything else is tested on `demo::cluster`.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) uri: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

/// All requests so far.
pub(crate) type Record = Arc<Mutex<Vec<Asked>>>;

/// An answer: status and body.
pub(crate) type Answer = (u16, Value);

/// A client of a server that answers with `answer`, which may take its time or never return.
pub(crate) fn client<F, R>(answer: F) -> (Client, Record)
where
    F: Fn(Asked) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Answer, BoxError>> + Send + 'static,
{
    let record = Record::default();
    let log = Arc::clone(&record);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, log) = (answer.clone(), Arc::clone(&log));
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect().await?.to_bytes();
            let asked = Asked {
                method: head.method.to_string(),
                uri: head.uri.to_string(),
                content_type: head
                    .headers
                    .get("content-type")
                    .map(|value| value.to_str().unwrap().to_owned())
                    .unwrap_or_default(),
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
            };
            log.lock().unwrap().push(asked.clone());
            let (status, body) = answer(asked).await?;
            let body = Full::new(Bytes::from(body.to_string()));
            Ok::<_, BoxError>(Response::builder().status(status).body(body)?)
        }
    });
    (Client::new(service, "default"), record)
}

/// A failure as Kubernetes words it.
pub(crate) fn failure(code: u16, reason: &str, message: &str, causes: &Value) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": {"causes": causes}, "code": code,
    });
    (code, body)
}
