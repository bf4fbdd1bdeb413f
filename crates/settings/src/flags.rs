//! Every setting as a flag of the command line: `cache.l1.bytes_max` is `--cache-l1-bytes-max`.

use clap::{Arg, ArgMatches, builder::PossibleValuesParser, parser::ValueSource};

use crate::{
    merged::variable_name,
    problems::Place,
    spec::{Kind, OptionSpec, SectionSpec},
};

/// Gives the flag of a path, without its dashes.
pub fn flag_name(path: &str) -> String {
    path.replace(['.', '_'], "-")
}

/// Makes a flag of each option. They are not in `--help`, where they would drown the few that most people need;
/// docs/CONFIGURATION.md lists them. A path in `short` has a shorter flag too, shown in `--help`.
pub fn flags(sections: &[SectionSpec], short: &[(&'static str, &'static str)]) -> Vec<Arg> {
    let mut flags = Vec::new();
    for section in sections {
        for option in section.options.iter().filter(|option| option.kind != Kind::Texts) {
            let path = format!("{}.{}", section.path, option.name);
            let flag = flag_name(&path);
            let shown = short.iter().find(|(_, of)| *of == path).map(|(name, _)| *name);
            let mut arg = Arg::new(path.clone())
                .long(shown.map_or_else(|| flag.clone(), str::to_owned))
                .global(true)
                .num_args(1)
                .hide(shown.is_none())
                .value_name(value_name(option))
                .help(format!("{} [variable: {}]", option.help_text(), variable_name(&path)));
            if shown.is_some_and(|shown| shown != flag) {
                arg = arg.alias(flag);
            }
            if !option.one_of.is_empty() {
                arg = arg.value_parser(PossibleValuesParser::new(option.one_of));
            }
            flags.push(arg);
        }
    }
    flags
}

/// Collects the flags that were given, as path, text and place; `short` as for [`flags`].
pub fn flag_values(
    sections: &[SectionSpec],
    short: &[(&'static str, &'static str)],
    matches: &ArgMatches,
) -> Vec<(String, String, Place)> {
    let mut values = Vec::new();
    for section in sections {
        for option in section.options.iter().filter(|option| option.kind != Kind::Texts) {
            let path = format!("{}.{}", section.path, option.name);
            if matches.value_source(&path) != Some(ValueSource::CommandLine) {
                continue;
            }
            if let Some(text) = matches.get_one::<String>(&path) {
                let shown = short
                    .iter()
                    .find(|(_, of)| *of == path)
                    .map(|(name, _)| (*name).to_owned());
                let place = Place::Flag(format!("--{}", shown.unwrap_or_else(|| flag_name(&path))));
                values.push((path, text.clone(), place));
            }
        }
    }
    values
}

fn value_name(option: &OptionSpec) -> String {
    match (option.kind, option.unit) {
        (Kind::Number, _) => "NUMBER".into(),
        (Kind::Switch, _) => "true|false".into(),
        (Kind::Path, _) => "PATH".into(),
        (Kind::Text | Kind::Secret | Kind::Texts, unit) => unit.unwrap_or("text").to_uppercase().replace(" OR ", "|"),
    }
}
