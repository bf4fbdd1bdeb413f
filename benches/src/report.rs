//! What a run came to, as Markdown: goals first, then each scenario with its tables, ratios before absolute numbers.

use std::{fmt::Write, time::Duration};

use crate::{
    machine::Machine,
    series::{Series, Unit},
};

/// Something that was promised, and what was seen.
#[derive(Debug)]
struct Goal {
    what: String,
    limit: String,
    seen: String,
    verdict: Verdict,
}

/// What a goal came to.
#[derive(Debug)]
enum Verdict {
    Met,
    NotMet,
    /// The run could not tell, and why.
    Undecided(String),
}

/// Which side of its limit a number must be on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Less than this.
    Below(f64),
}

/// What one scenario came to.
#[derive(Debug)]
pub(crate) struct Section {
    title: &'static str,
    parts: Vec<String>,
    goals: Vec<Goal>,
}

/// A table of one scenario: each line is compared with the table's yardstick.
#[derive(Debug)]
pub(crate) struct Table {
    text: String,
    unit: Unit,
    yardstick: Series,
}

impl Table {
    /// Begins a table with its yardstick, the line that the others are divided by.
    pub(crate) fn new(measured: &str, unit: Unit, yardstick_name: &str, yardstick: &Series) -> Self {
        let text = format!("| {measured} | ratio | median (min – max) |\n| --- | --- | --- |\n");
        let mut table = Self {
            text,
            unit,
            yardstick: yardstick.clone(),
        };
        let _ = writeln!(table.text, "| {yardstick_name} | 1 | {} |", yardstick.show(unit));
        table
    }

    /// Adds a line.
    #[must_use]
    pub(crate) fn line(mut self, name: &str, series: &Series) -> Self {
        let ratio = series.over(&self.yardstick);
        let _ = writeln!(
            self.text,
            "| {name} | {} | {} |",
            ratio.show(Unit::Times),
            series.show(self.unit)
        );
        self
    }
}

impl Section {
    /// Begins a section.
    pub(crate) fn new(title: &'static str) -> Self {
        Self {
            title,
            parts: Vec::new(),
            goals: Vec::new(),
        }
    }

    /// Says how something was measured, or what was seen beside the numbers.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.parts.push(text.into());
    }

    /// Adds a table of comparisons.
    pub(crate) fn table(&mut self, table: Table) {
        self.parts.push(table.text.trim_end().to_owned());
    }

    /// Adds a table of numbers that are compared with nothing.
    pub(crate) fn numbers(&mut self, lines: &[(&str, String)]) {
        let lines: Vec<String> = lines
            .iter()
            .map(|(name, shown)| format!("| {name} | {shown} |"))
            .collect();
        self.parts.push(format!(
            "| measured | median (min – max) |\n| --- | --- |\n{}",
            lines.join("\n")
        ));
    }

    /// Judges the median of a series.
    pub(crate) fn goal(&mut self, what: &str, unit: Unit, series: &Series, limit: Limit) {
        let seen = series.median();
        let (limit, is_met) = match limit {
            Limit::AtLeast(least) => (format!("≥ {}", unit.show(least)), seen >= least),
            Limit::AtMost(most) => (format!("≤ {}", unit.show(most)), seen <= most),
            Limit::Below(most) => (format!("< {}", unit.show(most)), seen < most),
        };
        let verdict = if is_met { Verdict::Met } else { Verdict::NotMet };
        self.goals.push(Goal {
            what: what.to_owned(),
            limit,
            seen: series.show(unit),
            verdict,
        });
    }

    /// Takes back the judgement of the goal that was judged last: the run could not tell.
    pub(crate) fn undecided(&mut self, reason: String) {
        if let Some(goal) = self.goals.last_mut() {
            goal.verdict = Verdict::Undecided(reason);
        }
    }

    /// Writes the section, its own goals included.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n", self.title, self.parts.join("\n\n"));
        if !self.goals.is_empty() {
            let _ = write!(text, "\n{}", table_of_goals(self.goals.iter()));
        }
        text
    }
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Machine,
    sections: Vec<Section>,
}

impl Report {
    /// Begins a report.
    pub(crate) fn new(machine: Machine) -> Self {
        Self {
            machine,
            sections: Vec::new(),
        }
    }

    /// Adds a scenario.
    pub(crate) fn add(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// Writes the table of all goals.
    pub(crate) fn goals_to_markdown(&self) -> String {
        table_of_goals(self.sections.iter().flat_map(|section| &section.goals))
    }

    /// Writes the whole page.
    pub(crate) fn to_markdown(&self, took: Duration) -> String {
        let mut page = format!(
            "# Results\n\nWritten by `cargo xtask bench`. Whatever is compared was measured in rounds that take turns on one \
             machine; a ratio is taken\nwithin a round, and medians over the rounds stand before their spread. The run took \
             {:.0} s.\n\n{}\n## Goals\n\n{}",
            took.as_secs_f64(),
            self.machine.to_markdown(),
            self.goals_to_markdown(),
        );
        for section in &self.sections {
            let _ = write!(page, "\n{}", section.to_markdown());
        }
        page
    }
}

fn table_of_goals<'a>(goals: impl Iterator<Item = &'a Goal>) -> String {
    let mut goals = goals.peekable();
    if goals.peek().is_none() {
        return String::new();
    }
    let mut text = String::from("| goal | limit | seen | |\n| --- | --- | --- | --- |\n");
    for Goal {
        what,
        limit,
        seen,
        verdict,
    } in goals
    {
        let verdict = match verdict {
            Verdict::Met => "met",
            Verdict::NotMet => "**not met**",
            Verdict::Undecided(reason) => reason,
        };
        let _ = writeln!(text, "| {what} | {limit} | {seen} | {verdict} |");
    }
    text
}
