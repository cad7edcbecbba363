//! Signatures, in the format of [minisign](https://jedisct1.github.io/minisign/): ed25519, prehashed.

use std::io::Cursor;

use minisign::{PublicKey, SignatureBox};

use super::refusal::{Kind, Refusal};

/// The public key that this text is: the line that begins with `RW`, or the whole file of minisign.
pub(crate) fn public(text: &str) -> Result<PublicKey, Refusal> {
    let line = text.trim().lines().next_back().unwrap_or_default();
    PublicKey::from_base64(line.trim()).map_err(|_| {
        Refusal::new(Kind::BadState, format!("cannot use the public key: `{line}` is none"))
            .hint("a public key of minisign is a line of 56 letters that begins with `RW`")
    })
}

/// The trusted comment of a signature that was found to be right: fields such as `version:0.4.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comment(String);

impl Comment {
    /// What a field says, if it is there.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.0.split_whitespace().filter_map(|it| it.split_once(':'));
        fields.into_iter().find(|(it, _)| *it == name).map(|(_, value)| value)
    }
}

/// Finds out whether these bytes are what the holder of the key has signed.
pub(crate) fn verify(
    key: &PublicKey,
    what: &str,
    bytes: &[u8],
    signature: &[u8],
) -> Result<Comment, Refusal> {
    let bad = |why: &str| {
        Refusal::new(Kind::BadSignature, format!("cannot trust `{what}`: {why}"))
            .hint("nothing of it was used; is `public_key` the key of who publishes it?")
    };
    let signature = String::from_utf8_lossy(signature);
    let signature = SignatureBox::from_string(&signature)
        .map_err(|_| bad("its signature is not one of minisign"))?;
    if signature.keynum() != key.keynum() {
        return Err(bad("it is signed with another key"));
    }
    let bytes = Cursor::new(bytes);
    minisign::verify(key, &signature, bytes, true, false, false)
        .map_err(|_| bad("its signature does not fit"))?;
    let comment = signature.trusted_comment().map_err(|_| bad("its comment is no text"))?;
    Ok(Comment(comment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use minisign::KeyPair;

    fn signed(pair: &KeyPair, bytes: &[u8], comment: &str) -> String {
        let signature = minisign::sign(None, &pair.sk, bytes, Some(comment), None);
        signature.expect("it can be signed").into_string()
    }

    #[test]
    fn what_was_signed_is_trusted_and_nothing_else() {
        let pair = KeyPair::generate_unencrypted_keypair().expect("a key");
        let other = KeyPair::generate_unencrypted_keypair().expect("a key");
        let good = signed(&pair, b"text", "file:a\tversion:1.2.3");
        let tried = |key: &KeyPair, bytes: &[u8], signature: &str| {
            verify(&key.pk, "it", bytes, signature.as_bytes()).map_err(|it| it.message)
        };
        let comment = tried(&pair, b"text", &good).expect("it is right");
        assert_eq!((comment.field("version"), comment.field("time")), (Some("1.2.3"), None));

        let no = |why: &str| Err(format!("cannot trust `it`: {why}"));
        assert_eq!(tried(&pair, b"texT", &good), no("its signature does not fit"));
        assert_eq!(tried(&other, b"text", &good), no("it is signed with another key"));
        assert_eq!(tried(&pair, b"text", "<html>"), no("its signature is not one of minisign"));
        let forged = good.replace("1.2.3", "1.2.4");
        assert_eq!(tried(&pair, b"text", &forged), no("its signature does not fit"));
    }

    #[test]
    fn a_key_is_a_line_or_a_file_of_minisign() {
        let pair = KeyPair::generate_unencrypted_keypair().expect("a key");
        let line = pair.pk.to_base64();
        let file = format!("untrusted comment: minisign public key\n{line}\n");
        assert!(public(&line).is_ok_and(|it| it == pair.pk));
        assert!(public(&file).is_ok_and(|it| it == pair.pk));
        assert_eq!(public("RWx").expect_err("too short").kind, Kind::BadState);
        assert_eq!(public("").expect_err("nothing").kind, Kind::BadState);
    }
}
