//! How the AWS library's requests are carried and who signs them: over the HTTP client that all sources use (rustls on ring, no redirect, a bounded
//! answer), and as the pod when no keys are given. Made by `mod.rs`, once for each address.

use std::sync::Arc;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider};
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{Region, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use reqwest::header::HeaderMap;
use reqwest::{Client, Request};
use tokio::time::Instant;

use super::super::web::{self, body, within};
use super::super::{Credentials, Error, tls};

/// How long one exchange may take; the visit gives up sooner.
const EXCHANGE: Duration = Duration::from_secs(5);

/// Carries requests.
#[derive(Debug, Clone)]
struct Carrier {
    client: Client,
}

/// A client for the AWS library; does not wait for any server.
pub(super) fn client(at: &Arc<str>) -> Result<SharedHttpClient, Error> {
    let tls = tls::config(at, &Credentials::default())?;
    let carrier = Carrier { client: web::client(at, tls, HeaderMap::new())? };
    Ok(http_client_fn(move |_, _| SharedHttpConnector::new(carrier.clone())))
}

/// Who the pod is: its web identity (IRSA: a token file and a role, both named by its environment), else what EKS Pod Identity hands out. The
/// node's own role is never borrowed: it is not the pod's to lend. `identity` stands in for the environment.
pub(super) fn pod(
    http: SharedHttpClient,
    region: Region,
    identity: Option<StaticConfiguration>,
) -> CredentialsProviderChain {
    let config = ProviderConfig::without_region()
        .with_region(Some(region))
        .with_http_client(http)
        .with_retry_config(RetryConfig::disabled());
    let mut web = WebIdentityTokenCredentialsProvider::builder().configure(&config);
    if let Some(identity) = identity {
        web = web.static_configuration(identity);
    }
    let pod = EcsCredentialsProvider::builder().configure(&config).build();
    CredentialsProviderChain::first_try("web identity", web.build()).or_else("pod identity", pod)
}

impl HttpConnector for Carrier {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.client.clone();
        HttpConnectorFuture::new(async move {
            carry(&client, request).await.map_err(|error| {
                // Ours is found again by `refusal`, below whatever the library wraps round it.
                ConnectorError::other(Box::new(error), None)
            })
        })
    }
}

async fn carry(client: &Client, request: HttpRequest) -> Result<HttpResponse, Error> {
    let request = request.try_into_http1x().map_err(|_| internal("a request"))?;
    let host: Arc<str> = request.uri().host().unwrap_or_default().into();
    let (parts, content) = request.into_parts();
    let content = content.bytes().ok_or_else(|| internal(&host))?.to_vec();
    let request = http::Request::from_parts(parts, content);
    let request = Request::try_from(request).map_err(|_| internal(&host))?;
    let deadline = Instant::now() + EXCHANGE;
    let response = within(&host, deadline, client.execute(request)).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let said = body(&host, deadline, response).await?;
    let mut whole = http::Response::new(SdkBody::from(said));
    *whole.status_mut() = status;
    *whole.headers_mut() = headers;
    HttpResponse::try_from(whole).map_err(|_| Error::SourceFailed {
        at: Arc::clone(&host),
        about: "the question".to_owned(),
        detail: "a header of its answer is no text".to_owned(),
    })
}

fn internal(at: &str) -> Error {
    Error::InternalError { at: at.into() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Mutex;

    use aws_sdk_sqs::config::{Credentials as AwsKeys, ProvideCredentials};

    use super::*;

    /// What the security token service says to whoever shows a good token, and what it was asked.
    #[derive(Debug, Clone, Default)]
    struct Tokens(Arc<Mutex<Vec<String>>>);

    impl HttpConnector for Tokens {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let asked = String::from_utf8_lossy(request.body().bytes().unwrap()).into_owned();
            self.0.lock().unwrap().push(format!("{} {asked}", request.uri()));
            let (status, said) = if asked.contains("WebIdentityToken=good") {
                (200, GRANTED)
            } else {
                (400, REFUSED)
            };
            let whole = http::Response::builder().status(status).body(SdkBody::from(said));
            HttpConnectorFuture::ready(Ok(HttpResponse::try_from(whole.unwrap()).unwrap()))
        }
    }

    const GRANTED: &str = r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
        <AssumeRoleWithWebIdentityResult>
        <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/penstock/x</Arn><AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser>
        <Credentials><AccessKeyId>AKID</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey><SessionToken>session</SessionToken>
        <Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
        </AssumeRoleWithWebIdentityResponse>"#;
    const REFUSED: &str = r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
        <Code>InvalidIdentityToken</Code><Message>No OpenIDConnect provider found</Message></Error></ErrorResponse>"#;

    async fn shown(token: &str) -> (Result<AwsKeys, String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let file: PathBuf = folder.path().join("token");
        std::fs::write(&file, token).unwrap();
        let identity = StaticConfiguration {
            web_identity_token_file: file,
            role_arn: "arn:aws:iam::1:role/penstock".to_owned(),
            session_name: "penstock".to_owned(),
        };
        let tokens = Tokens::default();
        let carrier = tokens.clone();
        let http = http_client_fn(move |_, _| SharedHttpConnector::new(carrier.clone()));
        let pod = pod(http, Region::from_static("eu-central-1"), Some(identity));
        let keys = pod.provide_credentials().await.map_err(|error| format!("{error:?}"));
        let asked = tokens.0.lock().unwrap().clone();
        (keys, asked)
    }

    #[tokio::test]
    async fn a_web_identity_is_exchanged_in_the_region_for_keys_that_end() {
        let (keys, asked) = shown("good").await;
        let keys = keys.unwrap();
        assert_eq!((keys.access_key_id(), keys.session_token()), ("AKID", Some("session")));
        assert!(keys.expiry().is_some());
        assert_eq!(asked.len(), 1);
        let asked = &asked[0];
        assert!(asked.starts_with("https://sts.eu-central-1.amazonaws.com/ "), "{asked}");
        assert!(asked.contains("Action=AssumeRoleWithWebIdentity"), "{asked}");
        assert!(asked.contains("role%2Fpenstock"), "{asked}");
    }

    #[tokio::test]
    async fn a_web_identity_that_is_refused_is_not_followed_by_another_way_in() {
        let (keys, asked) = shown("bad").await;
        assert!(keys.unwrap_err().contains("InvalidIdentityToken"));
        assert_eq!(asked.len(), 1);
    }
}
