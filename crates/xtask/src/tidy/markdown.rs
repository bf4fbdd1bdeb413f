//! Resolves what Markdown names: paths, links, options of our programs, settings and metrics.
//!
//! Looks only where a writer said that it is code (back-ticks and fences) or a link, and only at what looks like ours; prose is not judged.

use super::{Tree, crates::Package, read};

/// Documents that the binary writes: what they name is what there is.
const SETTINGS: &str = "docs/CONFIGURATION.md";
const METRICS: &str = "docs/METRICS.md";
/// Prometheus adds these to the name of a histogram.
const SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// What is known, as texts to look names up in.
struct Known {
    settings: String,
    metrics: String,
    /// The sources of our programs, where clap's options and the workshop's own variables are.
    sources: String,
    /// `neverstale_…` names that are crates.
    crates: Vec<String>,
}

/// What is wrong with the repository's Markdown.
pub(super) fn check(tree: &Tree, packages: &[Package]) -> Vec<String> {
    let of_programs = |file: &&str| {
        [
            "crates/sidecar/",
            "crates/xtask/",
            "crates/testkit/",
            "crates/settings/",
            "benches/",
            "tests/",
            "clients/",
        ]
        .iter()
        .any(|room| file.starts_with(room))
    };
    let known = Known {
        settings: read(SETTINGS),
        metrics: read(METRICS),
        sources: [".rs", ".py"]
            .iter()
            .flat_map(|extension| tree.ending(extension))
            .filter(of_programs)
            .map(read)
            .collect(),
        crates: packages.iter().map(|package| package.name.replace('-', "_")).collect(),
    };
    let mut problems = Vec::new();
    for document in tree.ending(".md") {
        let text = read(document);
        for (number, piece) in pieces(&text) {
            let place = format!("{document}:{number}");
            match piece {
                Piece::Link(target) => {
                    problems.extend(link(tree, document, target).map(|problem| format!("{place}: {problem}")));
                }
                Piece::Code(code) => {
                    problems.extend(path(tree, code).map(|problem| format!("{place}: {problem}")));
                    problems.extend(
                        names(&known, code)
                            .into_iter()
                            .map(|problem| format!("{place}: {problem}")),
                    );
                }
                Piece::Fenced(line) => {
                    problems.extend(
                        names(&known, line)
                            .into_iter()
                            .map(|problem| format!("{place}: {problem}")),
                    );
                }
            }
        }
    }
    problems
}

/// A part of a document that names things.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// Between back-ticks.
    Code(&'a str),
    /// A line of a fenced block.
    Fenced(&'a str),
    /// The target of a link.
    Link(&'a str),
}

fn pieces(text: &str) -> Vec<(usize, Piece<'_>)> {
    let mut pieces = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            pieces.push((number, Piece::Fenced(line)));
        } else {
            pieces.extend(
                line.split('`')
                    .skip(1)
                    .step_by(2)
                    .map(|code| (number, Piece::Code(code))),
            );
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            pieces.extend(targets.map(|target| (number, Piece::Link(target))));
        }
    }
    pieces
}

fn link(tree: &Tree, document: &str, target: &str) -> Option<String> {
    let target = target.split('#').next().unwrap_or_default();
    if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let resolved = parts.join("/");
    (!tree.has(&resolved)).then(|| format!("the link to {target} leads nowhere"))
}

/// A path is what has a slash and begins with something at our root; patterns and places in a file are cut off.
fn path(tree: &Tree, code: &str) -> Option<String> {
    let path = code.split([':', '#', ' ']).next()?;
    let first = path.split('/').next()?;
    let is_path = path.contains('/') && tree.has_root(first) && !path.contains("://");
    // `flavours/*.toml` names the directory, as far as we can tell.
    let fixed: Vec<&str> = path
        .split('/')
        .take_while(|part| !part.contains(['*', '{', '<', '…', '$']))
        .collect();
    let fixed = fixed.join("/");
    let is_generated = first == "target";
    (is_path && !is_generated && !tree.has(&fixed)).then(|| format!("`{path}` is not in the tree"))
}

fn names(known: &Known, code: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let words = code.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'));
    // The options of others are not ours to judge: a line must be a command of ours, or the option alone.
    let first = code
        .trim_start_matches(['$', ' '])
        .split(' ')
        .next()
        .unwrap_or_default();
    let is_ours = code.starts_with("--")
        || first.ends_with("neverstale")
        || code.trim_start_matches(['$', ' ']).starts_with("cargo xtask");
    for word in words {
        let problem = if word.starts_with("NEVERSTALE_") && word.len() > "NEVERSTALE_".len() {
            let is_known = has_word(&known.settings, word) || has_word(&known.sources, word);
            // `NEVERSTALE_CACHE__…` names a family.
            let is_family = word.ends_with('_');
            (!is_known && !is_family).then(|| format!("`{word}` is not a setting"))
        } else if let Some(option) = word.strip_prefix("--").filter(|option| is_ours && !option.is_empty()) {
            (!knows_option(known, option)).then(|| format!("`{word}` is not an option"))
        } else if word.starts_with("neverstale_") && !known.crates.iter().any(|name| name == word) {
            let name = SUFFIXES
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word);
            let is_known = has_word(&known.metrics, name) || has_word(&known.sources, name);
            (!is_known && !word.ends_with('_')).then(|| format!("`{word}` is not a metric"))
        } else {
            None
        };
        problems.extend(problem);
    }
    problems
}

/// Whether a name is there whole, and not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

fn knows_option(known: &Known, option: &str) -> bool {
    let field = option.replace('-', "_");
    matches!(option, "help" | "version")
        || has_word(&known.settings, &format!("--{option}"))
        || known.sources.contains(&format!("\"{option}\""))
        || known.sources.contains(&format!("\"--{option}\""))
        || known.sources.contains(&format!("{field}:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            settings: "`--cache-l1-bytes-max` `NEVERSTALE_CACHE__L1__BYTES_MAX`".to_owned(),
            metrics: "neverstale_proxy_read_seconds".to_owned(),
            sources: "lease_ms: Option<u64>".to_owned(),
            crates: vec!["neverstale_cache".to_owned()],
        }
    }

    #[test]
    fn code_links_and_fences_are_told_apart() {
        let text = "see `a/b` and [c](d.md)\n```\n--x\n```\n";
        let found = pieces(text);
        assert_eq!(
            found,
            [
                (1, Piece::Code("a/b")),
                (1, Piece::Link("d.md")),
                (3, Piece::Fenced("--x"))
            ]
        );
    }

    #[test]
    fn an_unknown_name_of_ours_is_a_problem_and_one_of_others_is_not() {
        let problems = |code| names(&known(), code).len();
        assert_eq!(
            problems("NEVERSTALE_CACHE__L1__BYTES_MAX=1 neverstale serve --cache-l1-bytes-max 2"),
            0
        );
        assert_eq!(problems("NEVERSTALE_CACHE__L1__BYTES"), 1);
        assert_eq!(problems("NEVERSTALE_CACHE__"), 0);
        assert_eq!(problems("NEVERSTALE_MOONS"), 1);
        assert_eq!(problems("neverstale install --lease-ms 50 --moons"), 1);
        assert_eq!(problems("psql --moons"), 0);
        assert_eq!(problems("neverstale_proxy_read_seconds_bucket neverstale_cache"), 0);
        assert_eq!(problems("neverstale_moons_total"), 1);
    }
}
