//! Holds the promises of docs/CONSISTENCY.md against the tests that prove them: each carries the paragraph's text.
//!
//! A paragraph of a test's doc comment that begins with a promise's number, such as `P1. `, is that promise's text; `tidy --write` copies it
//! from the document. Every promise, fault and limit needs a test, but for those limits that no test can show.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

use super::{Tree, read, root_path};

const DOCUMENT: &str = "docs/CONSISTENCY.md";
/// As rustfmt wraps comments.
const COLUMNS: usize = 120;
/// Limits without a test, and why.
const BEYOND_TESTS: [(&str, &str); 9] = [
    ("L1", "a cost, measured by `cargo xtask bench`"),
    ("L3", "needs a hypervisor"),
    ("L4", "says what is not promised"),
    ("L5", "a duty of whoever operates the database"),
    ("L6", "says what is not promised"),
    ("L7", "says what is not promised"),
    ("L13", "about the application"),
    ("L14", "about time outside"),
    ("L15", "says what may happen, not what does"),
];

/// Says which promise has no test, and which test carries another text.
pub(super) fn check(tree: &Tree) -> Vec<String> {
    let promised = promised(&read(DOCUMENT));
    let mut problems = Vec::new();
    let mut carried = BTreeMap::<String, usize>::new();
    for file in tree.ending(".rs") {
        for block in blocks(&read(file)) {
            for (number, text) in block.promises() {
                *carried.entry(number.to_owned()).or_default() += 1;
                match promised.get(number) {
                    None => problems.push(format!("{file}: {DOCUMENT} knows no {number}")),
                    Some(promise) if *promise != text => problems.push(format!(
                        "{file}: {number} reads otherwise in {DOCUMENT}; run `cargo xtask tidy --write`"
                    )),
                    Some(_) if !block.is_of_a_test => problems.push(format!("{file}: {number} stands at no test")),
                    Some(_) => {}
                }
            }
        }
    }
    for number in promised.keys() {
        let is_beyond = BEYOND_TESTS.iter().any(|(beyond, _)| beyond == number);
        match (carried.contains_key(number), is_beyond) {
            (false, false) => problems.push(format!("{DOCUMENT}: no test carries the text of {number}")),
            (true, true) => problems.push(format!(
                "{DOCUMENT}: {number} has a test, though it is said to be beyond tests"
            )),
            _ => {}
        }
    }
    if promised.is_empty() {
        problems.push(format!("{DOCUMENT} promises nothing"));
    }
    problems
}

/// Copies the texts of the document into the tests.
pub(super) fn write(tree: &Tree) -> Result<()> {
    let promised = promised(&read(DOCUMENT));
    for file in tree.ending(".rs") {
        let source = read(file);
        let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
        for block in blocks(&source).into_iter().rev() {
            if block.promises().next().is_some() {
                lines.splice(block.start..block.end, block.rewritten(&promised));
            }
        }
        let mut written = lines.join("\n");
        written.push('\n');
        if written != source {
            fs::write(root_path(file), written).with_context(|| format!("write {file}"))?;
        }
    }
    Ok(())
}

/// The numbered paragraphs of the document, and the rows of its table of faults, as one line each.
fn promised(document: &str) -> BTreeMap<String, String> {
    let mut promised = BTreeMap::new();
    for paragraph in document.split("\n\n") {
        let text = joined(paragraph.lines());
        if let Some((title, rest)) = text.strip_prefix("**").and_then(|text| text.split_once("**"))
            && let Some((number, _)) = numbered(title)
        {
            promised.insert(number.to_owned(), format!("{title}{rest}"));
        }
    }
    for row in document.lines() {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if let [number, fault, effect] = cells[..]
            && numbered(&format!("{number}. ")).is_some()
        {
            promised.insert(number.to_owned(), format!("{number}. {fault}: {effect}."));
        }
    }
    promised
}

/// The number at the head of a text: `P1. `, `F12. `.
fn numbered(text: &str) -> Option<(&str, &str)> {
    let (number, rest) = text.split_once(". ")?;
    let digits = number.strip_prefix(['P', 'F', 'L'])?;
    let is_number = !digits.is_empty() && digits.len() < 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((number, rest))
}

fn joined<'line>(lines: impl Iterator<Item = &'line str>) -> String {
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// A doc comment: where it stands, and its paragraphs.
struct Block {
    start: usize,
    end: usize,
    indent: usize,
    paragraphs: Vec<String>,
    is_of_a_test: bool,
}

impl Block {
    /// Its paragraphs that are promises, by number.
    fn promises(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.paragraphs.iter().map(String::as_str);
        texts.filter_map(|text| Some((numbered(text)?.0, text)))
    }

    /// Its lines, with the promises as the document has them.
    fn rewritten(&self, promised: &BTreeMap<String, String>) -> Vec<String> {
        let prefix = format!("{}///", " ".repeat(self.indent));
        let mut lines = Vec::new();
        for paragraph in &self.paragraphs {
            if !lines.is_empty() {
                lines.push(prefix.clone());
            }
            let promise = numbered(paragraph).and_then(|(number, _)| promised.get(number));
            let mut line = prefix.clone();
            for word in promise.unwrap_or(paragraph).split(' ') {
                if line.len() + 1 + word.len() > COLUMNS {
                    lines.push(std::mem::replace(&mut line, prefix.clone()));
                }
                line.push(' ');
                line.push_str(word);
            }
            lines.push(line);
        }
        lines
    }
}

/// The doc comments of a source file that begin with a number, or have a paragraph that does.
fn blocks(source: &str) -> Vec<Block> {
    let lines: Vec<&str> = source.lines().collect();
    let comment = |line: &str| line.trim_start().strip_prefix("///").map(|text| text.trim().to_owned());
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let start = at;
        let mut paragraphs = vec![String::new()];
        while let Some(text) = lines.get(at).and_then(|line| comment(line)) {
            let last = paragraphs.last_mut().expect("there is always one");
            if text.is_empty() {
                paragraphs.push(String::new());
            } else if last.is_empty() {
                *last = text;
            } else {
                last.push(' ');
                last.push_str(&text);
            }
            at += 1;
        }
        if at > start {
            blocks.push(Block {
                start,
                end: at,
                indent: lines[start].len() - lines[start].trim_start().len(),
                paragraphs,
                is_of_a_test: lines.get(at).is_some_and(|line| line.contains("test")),
            });
        } else {
            at += 1;
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# Promises\n\n**P1. It holds.** Whatever\nhappens.\n\n**Not one.** Nothing.\n\n\
        | | fault | effect |\n| --- | --- | --- |\n| F2 | fire | none |\n";

    #[test]
    fn paragraphs_and_rows_are_found() {
        let promised = promised(DOCUMENT);
        assert_eq!(promised["P1"], "P1. It holds. Whatever happens.");
        assert_eq!(promised["F2"], "F2. fire: none.");
        assert_eq!(promised.len(), 2);
    }

    #[test]
    fn a_comment_is_rewritten_and_the_rest_of_it_stays() {
        let source =
            "    /// [3] Of a history.\n    ///\n    /// P1. Once it\n    /// was so.\n    #[test]\n    fn f() {}\n";
        let blocks = blocks(source);
        let [block] = &blocks[..] else { panic!("one block") };
        assert!(block.is_of_a_test);
        assert_eq!(block.promises().collect::<Vec<_>>(), [("P1", "P1. Once it was so.")]);
        let written = block.rewritten(&promised(DOCUMENT));
        assert_eq!(
            written,
            [
                "    /// [3] Of a history.",
                "    ///",
                "    /// P1. It holds. Whatever happens."
            ]
        );
    }

    #[test]
    fn a_number_is_a_letter_and_digits() {
        assert_eq!(numbered("L15. So."), Some(("L15", "So.")));
        assert_eq!(numbered("L2 misses."), None);
        assert_eq!(numbered("P. So."), None);
    }
}
