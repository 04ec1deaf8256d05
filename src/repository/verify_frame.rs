//! What stands in a backup's folder beside what its list names: `SHA256SUMS`, and nothing else.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::blocks;
use super::damage::{Damage, DamageKind};
use super::file_list::sums_line;
use super::list_reader::ListReader;
use super::store::{Item, ItemKind, Store};
use super::verify::{Verification, not_as_listed};
use super::{read_small, sha256_hex};
use crate::error::{Error, Result};
use crate::hex::hex;
use crate::roots::{DATA, Roots, folder_of};
use crate::stream::pipeline::CHUNK_BYTES;

/// `SHA256SUMS` must say what `files.jsonl` and the manifest say, line for line.
pub fn check_sums(store: &dyn Store, folder: &Path, list: Option<&ListReader>, how: &Verification) -> Result<()> {
    let Some(list) = list.filter(|list| !list.is_damaged()) else {
        return Ok(()); // there is nothing to compare with, and that was reported
    };
    let sums_path = Path::new("SHA256SUMS");
    let manifest = read_small(store, &folder.join("manifest.json"), super::manifest::BYTES_MAX)?;
    let mut expected = list.sums();
    expected.update(sums_line(&list.sha256(), Path::new("files.jsonl")));
    expected.update(sums_line(&sha256_hex(&manifest), Path::new("manifest.json")));
    let mut input = match store.open(&folder.join(sums_path), 0, how.fresh) {
        Ok(input) => input,
        Err(error) => {
            (how.report)(not_as_listed(sums_path, &error)?);
            return Ok(());
        }
    };
    let mut computed = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let got =
            input.read(&mut buffer).map_err(|e| Error::io("read", &store.describe(&folder.join(sums_path)), &e))?;
        if got == 0 {
            break;
        }
        computed.update(&buffer[..got]);
    }
    let (expected, computed) = (hex(&expected.finalize()), hex(&computed.finalize()));
    if expected != computed {
        (how.report)(Damage::new(sums_path, DamageKind::Sums, expected, computed));
    }
    Ok(())
}

/// Walks the folder for what no list names.
pub(super) fn find_extra(
    store: &dyn Store,
    folder: &Path,
    list: Option<&ListReader>,
    roots: &Roots,
    how: &Verification,
) -> Result<()> {
    let further = roots.iter().map(|root| root.name.as_str());
    let mut frame: Vec<_> = further.chain([DATA]).filter_map(folder_of).collect();
    frame.extend(["files.jsonl", "manifest.json", "SHA256SUMS", blocks::FOLDER].map(PathBuf::from));
    let mut folders = vec![PathBuf::new()];
    while let Some(current) = folders.pop() {
        how.stop.check()?;
        let items = match store.list(&folder.join(&current)) {
            Ok(items) => items,
            Err(error) if current.as_os_str().is_empty() => return Err(error),
            Err(error) => {
                (how.report)(not_as_listed(&current, &error)?); // a second time, where it was unreadable above as well
                continue;
            }
        };
        for Item { name, kind, size } in items {
            let path = current.join(&name);
            let is_frame = frame.contains(&path);
            if !is_frame && !list.is_some_and(|list| list.contains(&path)) {
                let what = match kind {
                    ItemKind::File => format!("{size} bytes"),
                    ItemKind::Directory => "a directory".to_owned(),
                    ItemKind::Link => "a link".to_owned(),
                    ItemKind::Other => "a special file".to_owned(),
                };
                (how.report)(Damage::new(&path, DamageKind::Extra, "", what));
            } else if kind == ItemKind::Directory {
                folders.push(path);
            }
        }
    }
    Ok(())
}
