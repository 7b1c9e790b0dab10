//! SCRAM (RFC 5802) as Kafka speaks it: a password proven without being sent, and the server's proof in return. Pure but for the nonce
//! it is given; called by `link.rs`.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

use super::Mechanism;

/// Kafka itself makes no more than 16,384; who asks for more than this wants our CPU, which reckons on the thread of all sources: a twentieth of a
/// second at most.
const MOST_ROUNDS: u32 = 65_536;

/// One login under way.
pub(super) struct Scram<'a> {
    pbkdf2: pbkdf2::Algorithm,
    hmac: hmac::Algorithm,
    digest: &'static digest::Algorithm,
    password: &'a [u8],
    nonce: String,
    first_bare: String,
    server_key_proof: Vec<u8>,
}

impl<'a> Scram<'a> {
    /// A login; `None` when the mechanism is not SCRAM. `nonce` must be fresh and printable without a comma.
    pub(super) fn new(
        mechanism: &Mechanism,
        username: &str,
        password: &'a [u8],
        nonce: String,
    ) -> Option<Self> {
        let (pbkdf2, hmac, digest) = match mechanism {
            Mechanism::Plain | Mechanism::OauthBearer { .. } => return None,
            Mechanism::ScramSha256 => {
                (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256)
            }
            Mechanism::ScramSha512 => {
                (pbkdf2::PBKDF2_HMAC_SHA512, hmac::HMAC_SHA512, &digest::SHA512)
            }
        };
        let name = username.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={name},r={nonce}");
        Some(Self {
            pbkdf2,
            hmac,
            digest,
            password,
            nonce,
            first_bare,
            server_key_proof: Vec::new(),
        })
    }

    /// The first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The second message, in answer to the server's first. The error says what is wrong with it.
    pub(super) fn second(&mut self, server_first: &[u8]) -> Result<String, &'static str> {
        let server_first =
            std::str::from_utf8(server_first).map_err(|_| "its first message is no text")?;
        let field = |key: &str| server_first.split(',').find_map(|field| field.strip_prefix(key));
        let nonce = field("r=")
            .filter(|nonce| nonce.starts_with(&self.nonce) && nonce.len() > self.nonce.len());
        let nonce = nonce.ok_or("it does not repeat our nonce")?;
        let salt =
            field("s=").and_then(|salt| STANDARD.decode(salt).ok()).ok_or("it sent no salt")?;
        let rounds = field("i=").and_then(|rounds| rounds.parse::<NonZeroU32>().ok());
        let rounds = rounds
            .filter(|rounds| rounds.get() <= MOST_ROUNDS)
            .ok_or("its round count is out of bounds")?;

        let mut salted = vec![0; self.digest.output_len()];
        pbkdf2::derive(self.pbkdf2, rounds, &salt, self.password, &mut salted);
        let salted = hmac::Key::new(self.hmac, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key =
            hmac::Key::new(self.hmac, digest::digest(self.digest, client_key.as_ref()).as_ref());
        let server_key = hmac::Key::new(self.hmac, hmac::sign(&salted, b"Server Key").as_ref());

        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{server_first},{without_proof}", self.first_bare);
        let signature = hmac::sign(&stored_key, message.as_bytes());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(key, sign)| key ^ sign)
            .collect();
        self.server_key_proof = hmac::sign(&server_key, message.as_bytes()).as_ref().to_vec();
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// Does the server know the password too? Else it is somebody else.
    pub(super) fn is_proven_by(&self, server_final: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(server_final) else { return false };
        let proof = text.split(',').find_map(|field| field.strip_prefix("v="));
        let proof = proof.and_then(|proof| STANDARD.decode(proof).ok());
        !self.server_key_proof.is_empty()
            && proof.is_some_and(|proof| proof == self.server_key_proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange printed in RFC 7677.
    #[test]
    fn the_example_of_the_rfc_works_out() {
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        let mut scram = Scram::new(&Mechanism::ScramSha256, "user", b"pencil", nonce).unwrap();
        assert_eq!(scram.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let second = scram.second(server).unwrap();
        assert!(second.ends_with(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), "{second}");
        assert!(scram.is_proven_by(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!scram.is_proven_by(b"v=AAAA"));
    }

    #[test]
    fn a_server_that_plays_tricks_is_refused() {
        let fresh = || Scram::new(&Mechanism::ScramSha512, "a=b,c", b"x", "abc".into()).unwrap();
        assert_eq!(fresh().first(), "n,,n=a=3Db=2Cc,r=abc");
        assert!(fresh().second(b"r=other,s=AAAA,i=4096").is_err());
        assert!(fresh().second(b"r=abc,s=AAAA,i=4096").is_err());
        assert!(fresh().second(b"r=abcd,s=AAAA,i=65537").is_err());
        assert!(fresh().second(b"r=abcd,s=AAAA,i=16384").is_ok());
        assert!(fresh().second(b"r=abcd,s=AAAA,i=0").is_err());
        assert!(!fresh().is_proven_by(b"v="));
    }
}
