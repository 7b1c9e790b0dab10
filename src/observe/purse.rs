//! What buys tokens (OAuth 2.0 client credentials, RFC 6749 section 4.4) and keeps the latest, for sources that log in with one. Used by
//! `web.rs` and by Kafka's OAUTHBEARER; the client that carries the purchase is theirs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::figure::line;
use super::{Credentials, Error, fault, web};

/// A token is renewed so long before it ends.
const RENEWAL: Duration = Duration::from_secs(30);
/// How long a token is used whose end is not said.
const USE: Duration = Duration::from_mins(5);
/// After a purchase that failed while the last token is still good, the next is tried after this.
const PAUSE: Duration = Duration::from_secs(5);

/// A buyer of tokens.
pub(super) struct Purse {
    token_url: String,
    scopes: String,
    id: String,
    secret: String,
    token: Option<Token>,
}

struct Token {
    /// `Bearer` and the token.
    value: HeaderValue,
    /// When another is to be bought.
    renewal: Instant,
    /// When it is of no more use.
    end: Instant,
}

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purse").field("token_url", &self.token_url).finish_non_exhaustive()
    }
}

/// What a token server says.
#[derive(Deserialize)]
struct Sold {
    access_token: String,
    #[serde(default)]
    expires_in: Json,
}

impl Sold {
    /// How long the token lasts. Some sellers say a text where the RFC has a number.
    fn lasts(&self) -> Option<Duration> {
        let seconds = match &self.expires_in {
            Json::Number(seconds) => seconds.as_f64(),
            Json::String(seconds) => seconds.trim().parse().ok(),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
        };
        Duration::try_from_secs_f64(seconds?).ok()
    }
}

/// What it says when it refuses (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl Purse {
    /// With `client-id` and `client-secret` of the credentials; `at` is whom the token is for.
    pub(super) fn new(
        at: &Arc<str>,
        token_url: &str,
        scopes: &[String],
        keys: &Credentials,
    ) -> Result<Self, Error> {
        Ok(Self {
            token_url: token_url.to_owned(),
            scopes: scopes.join(" "),
            id: fault::text(at, keys, "client-id")?,
            secret: fault::text(at, keys, "client-secret")?,
            token: None,
        })
    }

    /// Buys a token when there is none or the last is about to end. A seller that fails is no harm while the last is good.
    pub(super) async fn fill(&mut self, client: &Client, deadline: Instant) -> Result<(), Error> {
        let now = Instant::now();
        if self.token.as_ref().is_some_and(|token| now < token.renewal) {
            return Ok(());
        }
        match self.buy(client, now, deadline).await {
            Ok(token) => self.token = Some(token),
            Err(error) => {
                let Some(token) = self.token.as_mut().filter(|token| now < token.end) else {
                    return Err(error);
                };
                tracing::debug!(%error, "a token was not renewed; the last is still good");
                token.renewal = now + PAUSE;
            }
        }
        Ok(())
    }

    async fn buy(&self, client: &Client, now: Instant, deadline: Instant) -> Result<Token, Error> {
        let mut form = vec![("grant_type", "client_credentials")];
        if !self.scopes.is_empty() {
            form.push(("scope", &self.scopes));
        }
        let request = client
            .post(&self.token_url)
            .basic_auth(&self.id, Some(&self.secret))
            .form(&form)
            .send();
        let seller: Arc<str> = self.token_url.as_str().into();
        let response = web::within(&seller, deadline, request).await?;
        let status = response.status();
        let body = web::body(&seller, deadline, response).await?;
        let refused =
            |detail: String| Error::AuthenticationFailed { at: Arc::clone(&seller), detail };
        if status.is_server_error() {
            let about = "the purchase of a token".to_owned();
            let detail = format!("status {}", status.as_u16());
            return Err(Error::SourceFailed { at: seller, about, detail });
        }
        if !status.is_success() {
            let mut detail = format!("status {}", status.as_u16());
            if let Ok(Refused { error }) = serde_json::from_slice(&body) {
                detail = format!("{detail}, {}", line(&error));
            }
            return Err(refused(detail));
        }
        let sold: Sold = serde_json::from_slice(&body)
            .map_err(|_| refused("its answer holds no access_token".to_owned()))?;
        let value = web::secret(&seller, "token", &format!("Bearer {}", sold.access_token))?;
        let lasts = sold.lasts().unwrap_or(USE).min(Duration::from_hours(24));
        // A token that hardly lasts is used for half of its life.
        let renewal = now + lasts.saturating_sub(RENEWAL).max(lasts / 2);
        Ok(Token { value, renewal, end: now + lasts })
    }

    /// What to send as `authorization`.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        self.token.as_ref().map(|token| token.value.clone())
    }

    /// The token itself.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_ref()?.value.to_str().ok()?.strip_prefix("Bearer ")
    }

    /// The server did not take the token: another is bought next time.
    pub(super) fn discard(&mut self) {
        self.token = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lasts_as_long_as_a_number_or_a_text_says() {
        for (said, seconds) in [
            (r#", "expires_in": 3599"#, Some(3599)),
            (r#", "expires_in": "3599""#, Some(3599)),
            (r#", "expires_in": null"#, None),
            (r#", "expires_in": -1"#, None),
            (r#", "expires_in": "soon""#, None),
            ("", None),
        ] {
            let sold: Sold =
                serde_json::from_str(&format!(r#"{{"access_token": "t"{said}}}"#)).unwrap();
            assert_eq!(sold.lasts(), seconds.map(Duration::from_secs), "{said}");
        }
    }
}
