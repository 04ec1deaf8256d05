//! The hash that tells blocks apart, and its secret.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use twox_hash::{XxHash3_64, XxHash3_128};

use crate::error::{Error, ExitCode, Result};

/// Bytes of the secret: as many as the hash's own has, more than it asks for at least.
pub const SECRET_BYTES: usize = 192;

/// XXH3-128 of a block under the secret of its repository: the low half first, little endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHash(pub [u8; 16]);

/// The secret of a repository, under which its blocks are hashed; clones share it.
///
/// The hash is not cryptographic. It tells whether a block changed, and finds what decays. Because nobody who only
/// writes into the storage knows the secret, nobody can make two blocks there that pass for one.
#[derive(Clone, PartialEq, Eq)]
pub struct BlockKey(Arc<[u8; SECRET_BYTES]>);

impl BlockKey {
    /// A new secret from the kernel's random numbers.
    pub fn draw() -> Result<Self> {
        let mut secret = [0; SECRET_BYTES];
        let mut filled = 0;
        while filled < SECRET_BYTES {
            match getrandom(&mut secret[filled..], GetRandomFlags::empty()) {
                Ok(bytes) => filled += bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    return Err(Error::new(ExitCode::Failed, format!("the kernel gives no random numbers: {errno}")));
                }
            }
        }
        Ok(Self::new(secret))
    }

    /// The key of a secret.
    pub fn new(secret: [u8; SECRET_BYTES]) -> Self {
        Self(Arc::new(secret))
    }

    /// The hash of a block.
    #[inline]
    pub fn hash(&self, block: &[u8]) -> BlockHash {
        let hash = XxHash3_128::oneshot_with_secret(&*self.0, block).expect("the secret is long enough");
        BlockHash(hash.to_le_bytes())
    }

    /// The hash of a header or a table: XXH3-64 under the same secret.
    pub fn check(&self, bytes: &[u8]) -> u64 {
        XxHash3_64::oneshot_with_secret(&*self.0, bytes).expect("the secret is long enough")
    }
}

impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockKey") // the secret is in no log
    }
}

impl Serialize for BlockKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(*self.0))
    }
}

impl<'de> Deserialize<'de> for BlockKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self::new).ok_or_else(|| serde::de::Error::custom("the secret is not 192 bytes in base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_repositories_hash_alike_only_what_they_share_a_secret_for() {
        let (one, other) = (BlockKey::draw().expect("drawn"), BlockKey::draw().expect("drawn"));
        for bytes in [0, 1, 100, 240, 241, 4096] {
            let block = vec![7; bytes];
            assert_eq!(one.hash(&block), one.clone().hash(&block));
            assert_ne!(one.hash(&block), other.hash(&block), "{bytes}");
            assert_ne!(one.check(&block), other.check(&block), "{bytes}");
        }
    }

    #[test]
    fn a_secret_is_the_same_after_json_and_in_no_log() {
        let key = BlockKey::draw().expect("drawn");
        let text = serde_json::to_string(&key).expect("written");
        assert_eq!(serde_json::from_str::<BlockKey>(&text).expect("read"), key);
        for bad in ["\"\"", "\"AAAA\"", "\"?\"", "7"] {
            assert!(serde_json::from_str::<BlockKey>(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{key:?}"), "BlockKey");
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // Under the secret that the specification of XXH3 names, and the values that its own test prints.
        let secret = concat!(
            "uP5sOSOkS758AYEs9yGtHN7UbemDkJfbckCkpLezZx/LeeZOzMDleIJa0H3M/3IhuAhGdPdDJI7gNZDmgTomTDwo",
            "UruRwwDLiNBlixtTLqNxZEiXog35TjgZ70ap3qzYqPp2P+OcND/53LvHxwtPHYpR4EvNtFkxyJ9+ydl4c2TqxayD",
            "NNPrw8WBoP/6E2PrFw3dUbfw2knTFlUmKdRonisWvlh9R6H8j/i40XrQMc5FyzqPlRYEKK/X+8q7S0B+",
        );
        let key: BlockKey = serde_json::from_str(&format!("\"{secret}\"")).expect("192 bytes");
        assert_eq!(crate::hex::hex(&key.hash(b"").0), "7f498d4624c30160d8984701d306aa99");
        assert_eq!(key.check(b""), 0x2d06_8005_38d3_94c2);
    }
}
