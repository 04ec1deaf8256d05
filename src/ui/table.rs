//! Tables for people: columns that align, names that cannot break them.

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// To the left.
    Left,
    /// To the right, for numbers.
    Right,
}

/// Sets rows under their headings; two blanks between columns, none at the end of a line.
pub fn table(columns: &[(&str, Align)], rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([columns[column].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let set = |cells: &[String]| {
        let mut line = String::new();
        for ((cell, width), (_, align)) in cells.iter().zip(&widths).zip(columns) {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) =
                if *align == Align::Right { (padding, String::new()) } else { (String::new(), padding) };
            line = line + &before + cell + &after + "  ";
        }
        line.trim_end().to_owned()
    };
    let headings: Vec<String> = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    std::iter::once(set(&headings)).chain(rows.iter().map(|row| set(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = [vec!["1".to_owned(), "full".to_owned()], vec!["12".to_owned(), "copy".to_owned()]];
        let lines = table(&[("number", Align::Right), ("kind", Align::Left)], &rows);
        assert_eq!(lines, ["number  kind", "     1  full", "    12  copy"]);
    }
}
