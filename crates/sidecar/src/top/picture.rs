//! What `top` shows: a row for each sidecar, what is wrong, and the last invalidations.

use neverstale_wire::Status;
use ratatui::{
    Frame,
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row, Table},
};

use super::{Change, Rates, Told, Watched};

/// Invalidations shown where the terminal does not say how many fit.
const CHANGES: u16 = 8;

const HEAD: [&str; 12] = [
    "sidecar",
    "state",
    "reads/s",
    "L1",
    "L2",
    "refused/s",
    "lease",
    "fence",
    "position",
    "lag",
    "memory",
    "audit",
];
const WIDTHS: [u16; 12] = [21, 9, 8, 6, 6, 9, 7, 7, 10, 6, 9, 10];

/// How many rows it takes to show everything.
pub(super) fn rows(watched: &[Watched]) -> u16 {
    let table = watched.len() as u16 + 1;
    let troubles = troubles(watched).len() as u16;
    let changes = changes(watched)
        .map_or(1, |(_, changes)| changes.len() as u16)
        .min(CHANGES);
    1 + 1 + table + 1 + troubles + u16::from(troubles > 0) + 1 + changes.max(1)
}

pub(super) fn draw(frame: &mut Frame<'_>, watched: &[Watched]) {
    let troubles = troubles(watched);
    let gap = u16::from(!troubles.is_empty());
    let [title, _, table, _, wrong, _, heading, changed] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(watched.len() as u16 + 1),
        Constraint::Length(1),
        Constraint::Length(troubles.len() as u16),
        Constraint::Length(gap),
        Constraint::Length(1),
        Constraint::Fill(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head(watched)), title);
    let head = Row::new(HEAD.map(Cell::from)).style(Style::new().add_modifier(Modifier::DIM));
    let rows = watched.iter().map(row);
    let widths = WIDTHS.map(Constraint::Length);
    frame.render_widget(Table::new(rows, widths).header(head).column_spacing(1), table);
    let wrong_lines: Vec<Line<'_>> = troubles
        .into_iter()
        .map(|text| Line::styled(text, Color::Red))
        .collect();
    frame.render_widget(Paragraph::new(wrong_lines), wrong);
    let (whose, lines) = match changes(watched) {
        Some((address, changes)) => (
            format!("last invalidations, as {address} has applied them"),
            changes.iter().map(change).collect(),
        ),
        None => (
            "last invalidations".to_owned(),
            vec![Line::from("none since they began")],
        ),
    };
    frame.render_widget(Line::styled(whose, Style::new().add_modifier(Modifier::DIM)), heading);
    frame.render_widget(Paragraph::new(lines), changed);
}

fn head(watched: &[Watched]) -> Line<'_> {
    let ready = watched.iter().filter(|one| one.is_ready()).count();
    let reads: f64 = watched.iter().map(|one| one.rates.reads).sum();
    let flavour = watched.iter().find_map(|one| one.told.as_ref().ok());
    let flavour = flavour.map_or("", |told| told.status.installation.flavour.as_str());
    let colour = if ready == watched.len() {
        Color::Green
    } else {
        Color::Red
    };
    Line::from(vec![
        Span::styled("neverstale", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("  {flavour}  ")),
        Span::styled(format!("{ready} of {} ready", watched.len()), colour),
        Span::raw(format!("  {} reads/s  (q ends)", number(reads))),
    ])
}

fn row(watched: &Watched) -> Row<'_> {
    let address = Cell::from(watched.address.as_str());
    let Ok(told) = &watched.told else {
        return Row::new([address, Cell::from("away").style(Color::Red)]);
    };
    let Told { status, standing, .. } = told;
    let state = match (status.ready, standing.as_str()) {
        (true, "serving") => Cell::from("ready").style(Color::Green),
        (true, other) => Cell::from(other).style(Color::Yellow),
        (false, _) => Cell::from("not ready").style(Color::Red),
    };
    let Rates { reads, l1, l2, refused } = watched.rates;
    let feed = &status.feed;
    let relay = if feed.relay { "*" } else { "" };
    Row::new([
        address,
        state,
        Cell::from(number(reads)),
        Cell::from(share(l1, reads)),
        Cell::from(if status.l2.is_some() {
            share(l2, reads)
        } else {
            "-".to_owned()
        }),
        Cell::from(number(refused)).style(if refused > 0.0 { Color::Red } else { Color::Reset }),
        Cell::from(lease(status)),
        Cell::from(format!("{} µs", feed.fence_round_trip_us)),
        Cell::from(format!("{}{relay}", feed.applied)),
        Cell::from(format!("{} ms", feed.lag_ms)),
        Cell::from(format!("{:.1} MiB", status.l1.bytes as f64 / f64::from(1 << 20))),
        audit(status),
    ])
}

fn lease(status: &Status) -> String {
    match status.feed.lease_remaining_ms {
        0 => "none".to_owned(),
        left => format!("{left} ms"),
    }
}

/// Answers that the auditor compared; those that were old, if any.
fn audit(status: &Status) -> Cell<'static> {
    let audit = &status.audit;
    if audit.stale > 0 {
        return Cell::from(format!("{} STALE", audit.stale)).style(Color::Red);
    }
    Cell::from(format!("{} ok", audit.compared))
}

/// What is wrong, with whose it is.
fn troubles(watched: &[Watched]) -> Vec<String> {
    let of = |one: &Watched| -> Vec<String> {
        match &one.told {
            Err(why) => vec![why.clone()],
            Ok(told) => {
                let reasons = told.status.reasons.iter();
                let reasons = reasons.map(|reason| format!("{}: {}", reason.key, reason.text));
                let standing = told.standing_reason.iter();
                let standing = standing.map(|reason| format!("{}: {reason}", told.standing));
                let redis = told.status.l2.as_ref().filter(|l2| !l2.connected);
                let redis = redis.map(|l2| format!("Redis ({}) is not connected; reads do without", l2.target));
                reasons.chain(standing).chain(redis).collect()
            }
        }
    };
    let named = |one: &Watched| {
        of(one)
            .into_iter()
            .map(|text| format!("{}  {text}", one.address))
            .collect::<Vec<_>>()
    };
    watched.iter().flat_map(named).collect()
}

/// The last invalidations of the sidecar that is ahead.
fn changes(watched: &[Watched]) -> Option<(&str, &[Change])> {
    let told = watched
        .iter()
        .filter_map(|one| Some((one.address.as_str(), one.told.as_ref().ok()?)));
    let ahead = told.max_by_key(|(_, told)| told.status.feed.applied);
    ahead
        .map(|(address, told)| (address, told.changes.as_slice()))
        .filter(|(_, changes)| !changes.is_empty())
}

fn change(change: &Change) -> Line<'_> {
    let more = match change.tags_more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Line::from(format!("{:>10}  {}{more}", change.position, change.tags.join("  ")))
}

fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 {
        format!("{:.1}%", 100.0 * part / whole)
    } else {
        "-".to_owned()
    }
}

/// A number that is read at a glance: 950, 12.3k, 4.5M.
fn number(value: f64) -> String {
    match value {
        value if value < 1e3 => format!("{value:.0}"),
        value if value < 1e6 => format!("{:.1}k", value / 1e3),
        value => format!("{:.1}M", value / 1e6),
    }
}
