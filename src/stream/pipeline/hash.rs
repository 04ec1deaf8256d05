//! The stage between: hashes every file on its way from the reader to the writer.

use std::sync::mpsc::{Receiver, SyncSender};

use sha2::{Digest, Sha256};

use super::message::{End, Message};

/// Hashes what comes until a stage goes.
pub(super) fn hash(input: &Receiver<Vec<Message>>, output: &SyncSender<Vec<Message>>) {
    let mut hasher = Sha256::new();
    for mut batch in input {
        for message in &mut batch {
            if let Message::Piece(piece) = message {
                if !piece.job.wants_hash {
                    continue;
                }
                if piece.begins {
                    hasher = Sha256::new();
                }
                hasher.update(piece.bytes.as_slice());
                hash_zeros(&mut hasher, piece.hole);
                if let Some(reached) = &mut piece.reached {
                    reached.sha256 = hasher.clone().finalize().into();
                }
                if let Some(End::Still(_, digest)) = &mut piece.end {
                    *digest = Some(hasher.finalize_reset().into());
                }
            }
        }
        if output.send(batch).is_err() {
            return;
        }
    }
}

/// Feeds so many zeros to a hash.
pub fn hash_zeros(hasher: &mut Sha256, bytes: u64) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        hasher.update(&ZEROS[..now]);
        left -= now as u64;
    }
}
