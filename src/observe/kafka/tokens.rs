//! The token of OAUTHBEARER: bought before the first link is opened, and again before it ends or when a broker did not take it. Owned by
//! `cluster.rs`; the buying is `purse.rs`.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Client;
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use super::Mechanism;
use super::login::Login;
use crate::observe::purse::Purse;
use crate::observe::{Credentials, Error, tls, web};

/// What buys the token of one client.
#[derive(Debug)]
pub(super) struct Tokens {
    purse: Purse,
    client: Client,
    /// Did a broker refuse the last one?
    is_refused: AtomicBool,
}

impl Tokens {
    /// `None` when the login is of another kind.
    pub(super) fn new(login: &Login, keys: &Credentials) -> Result<Option<Self>, Error> {
        let mechanism = login.sasl.as_ref().map(|sasl| &sasl.mechanism);
        let Some(Mechanism::OauthBearer { token_url, scopes }) = mechanism else {
            return Ok(None);
        };
        let at = &login.bootstrap_servers;
        let purse = Purse::new(at, token_url, scopes, keys)?;
        let client = web::client(at, tls::beside(at, keys)?, HeaderMap::new())?;
        Ok(Some(Self { purse, client, is_refused: AtomicBool::new(false) }))
    }

    /// Puts a token that is good for a while into the login.
    pub(super) async fn renew(
        &mut self,
        login: &mut Login,
        deadline: Instant,
    ) -> Result<(), Error> {
        if std::mem::take(self.is_refused.get_mut()) {
            self.purse.discard();
        }
        self.purse.fill(&self.client, deadline).await?;
        if let (Some(sasl), Some(token)) = (&mut login.sasl, self.purse.token()) {
            sasl.password = token.as_bytes().to_vec();
        }
        Ok(())
    }

    /// A broker did not take the token: the next visit buys another.
    pub(super) fn note_refusal(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }
}
