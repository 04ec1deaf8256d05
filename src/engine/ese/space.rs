//! How much of its file a database owns: the largest key of the root's tree of owned extents (`spec/ese-format.md` §6).

use super::fields::{array_at, u16_at, u32_at};
use super::page::{PageNumber, PageSize, Tag, is_leaf, tag, tag_count};

/// The page that is the root of the database.
const ROOT: PageNumber = PageNumber(1);
/// More levels than a tree of 2^32 extents has; a tree that goes deeper goes in a circle.
const DEPTH_MAX: usize = 12;

/// The last page that the database owns. `read` gives a page that proves itself, or none.
///
/// None where a page on the way is damaged or says what cannot be: then nothing is known, and every page counts as owned.
pub fn last_owned_page(size: PageSize, read: &mut dyn FnMut(PageNumber) -> Option<Vec<u8>>) -> Option<PageNumber> {
    let root = read(ROOT)?;
    let Tag { bytes: space, .. } = tag(&root, size, 0).filter(|tag| tag.bytes.len() >= 16)?;
    let (primary, has_tree, tree) = (u32_at(space, 0), u32_at(space, 8) != 0, u32_at(space, 12));
    if !has_tree {
        return Some(PageNumber(primary));
    }
    let mut number = PageNumber(tree);
    for _ in 0..DEPTH_MAX {
        let page = read(number)?;
        let last = tag(&page, size, tag_count(&page).checked_sub(1)?)?;
        let (key, data) = key_and_data(&page, size, last)?;
        if is_leaf(&page) {
            let end = key.first_chunk::<4>().copied().map(u32::from_be_bytes)?;
            return Some(PageNumber(end));
        }
        number = PageNumber(data.first_chunk().copied().map(u32::from_le_bytes)?);
    }
    None
}

/// The whole key of a node, and its data.
fn key_and_data<'a>(page: &[u8], size: PageSize, node: Tag<'a>) -> Option<(Vec<u8>, &'a [u8])> {
    // On large pages the top bits of the first word are the flags.
    let word = |bytes: &[u8], first: bool| {
        let word = u16_at(bytes, 0);
        usize::from(if first && size.is_large() { word & 0x1FFF } else { word })
    };
    let mut bytes = node.bytes;
    let mut key = Vec::new();
    let is_compressed = node.flags & 4 != 0;
    if is_compressed {
        let prefix = word(bytes, true);
        // The root of a tree keeps other things in tag 0 than a prefix.
        let whole = if is_root(page) { &[][..] } else { tag(page, size, 0)?.bytes };
        key.extend_from_slice(whole.get(..prefix.min(whole.len()))?);
        bytes = bytes.get(2..)?;
    }
    let length = word(bytes, !is_compressed);
    let (own, data) = bytes.get(2..)?.split_at_checked(length)?;
    key.extend_from_slice(own);
    Some((key, data))
}

fn is_root(page: &[u8]) -> bool {
    u32::from_le_bytes(array_at(page, 36)) & 1 != 0
}
