//! Forged histories: true ones, ones with a known lie, and thousands of random ones on which the judges must agree.

use super::{Kind, judge, search::has_an_order};
use crate::{
    dice::Dice,
    jepsen::{
        level::Level,
        record::{Heard, History, Moment, Origin, Read, ReadLog, Seen, Write},
    },
};

const BOUND: Moment = 50;

/// A history that is written down operation by operation.
struct Forge {
    log: ReadLog,
    writes: Vec<Write>,
}

impl Forge {
    fn new() -> Self {
        Self {
            log: ReadLog::default(),
            writes: Vec::new(),
        }
    }

    /// A write that was acknowledged; its number.
    fn write(&mut self, start: Moment, end: Moment, made: &[(u16, u32)]) -> u32 {
        let id = self.writes.len() as u32 + 1;
        self.writes.push(Write {
            id,
            process: 1,
            heard: Heard::Committed,
            start,
            end,
            made: made.to_vec(),
        });
        id
    }

    fn read(&mut self, level: Level, start: Moment, end: Moment, basis: Option<u32>, shown: &[(u16, u32)]) -> u32 {
        let seen: Vec<Seen> = shown
            .iter()
            .map(|(register, version)| self.seen(*register, *version))
            .collect();
        let read = Read {
            process: 0,
            asked: level,
            level,
            status: 200,
            is_fence: level == Level::Full && shown.is_empty(),
            questions: 1,
            seen_count: 0,
            seen_from: 0,
            basis: basis.map(|place| Origin { process: 0, place }),
            position: 0,
            start,
            end,
        };
        self.log.push(read, &seen)
    }

    fn seen(&self, register: u16, version: u32) -> Seen {
        let maker = self
            .writes
            .iter()
            .find(|write| write.made.contains(&(register, version)));
        Seen {
            register,
            version,
            write: maker.map_or(0, |write| write.id),
        }
    }

    fn history(self) -> History {
        let mut history = History {
            registers: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            processes: vec!["reader".to_owned(), "writer".to_owned()],
            writes: self.writes,
            staleness_bound: BOUND,
            ..History::default()
        };
        history.take_reads(self.log);
        history
    }

    fn kinds(self) -> Vec<Kind> {
        let history = self.history();
        let kinds: Vec<Kind> = judge(&history).iter().map(|violation| violation.kind).collect();
        if !kinds.contains(&Kind::Database) {
            assert_eq!(
                kinds.is_empty(),
                has_an_order(&history),
                "the search says otherwise: {kinds:?}"
            );
        }
        kinds
    }
}

#[test]
fn a_true_history_passes() {
    let mut forge = Forge::new();
    forge.write(10, 20, &[(0, 1), (1, 1)]);
    forge.write(30, 90, &[(0, 2)]);
    // While the second is under way both versions are true, until somebody has seen the newer one.
    forge.read(Level::Full, 40, 50, None, &[(0, 1), (1, 1)]);
    let newer = forge.read(Level::Full, 45, 55, None, &[(0, 2), (1, 1)]);
    forge.read(Level::Full, 50, 60, None, &[(0, 1)]);
    forge.read(Level::Token, 56, 70, Some(newer), &[(0, 2)]);
    forge.read(Level::Bounded, 60, 70, None, &[(0, 1)]);
    assert_eq!(forge.kinds(), []);
}

#[test]
fn a_read_after_the_acknowledgement_must_show_it() {
    let mut forge = Forge::new();
    forge.write(10, 20, &[(0, 1)]);
    forge.read(Level::Full, 21, 30, None, &[(0, 0)]);
    assert_eq!(forge.kinds(), [Kind::Stale]);
}

#[test]
fn what_one_reader_has_seen_no_later_one_denies() {
    let mut forge = Forge::new();
    forge.write(10, 90, &[(0, 1)]);
    forge.read(Level::Full, 20, 30, None, &[(0, 1)]);
    forge.read(Level::Full, 31, 40, None, &[(0, 0)]);
    assert_eq!(forge.kinds(), [Kind::Stale]);
}

#[test]
fn a_value_from_before_its_write_or_from_nobody_is_found() {
    let mut forge = Forge::new();
    forge.write(50, 60, &[(0, 1)]);
    forge.read(Level::Full, 10, 20, None, &[(0, 1)]);
    assert_eq!(forge.kinds(), [Kind::Future]);
    let mut forge = Forge::new();
    forge.read(Level::Full, 10, 20, None, &[(0, 3)]);
    assert_eq!(forge.kinds(), [Kind::Unwritten]);
}

#[test]
fn a_batch_that_shows_half_a_transaction_is_found() {
    let mut forge = Forge::new();
    forge.write(10, 90, &[(0, 1), (1, 1)]);
    forge.read(Level::Full, 20, 30, None, &[(0, 1), (1, 0)]);
    assert_eq!(forge.kinds(), [Kind::Torn]);
}

#[test]
fn a_batch_of_two_moments_is_found_though_no_register_is_stale() {
    let mut forge = Forge::new();
    forge.write(10, 15, &[(0, 1)]);
    forge.write(20, 90, &[(1, 1)]);
    // Somebody saw a new and b old, so a came first; a batch with b new and a old contradicts that.
    forge.read(Level::Full, 5, 60, None, &[(0, 0), (1, 1)]);
    assert_eq!(forge.kinds(), [Kind::Torn]);
}

#[test]
fn a_token_is_a_promise_across_registers() {
    let mut forge = Forge::new();
    forge.write(10, 20, &[(0, 1)]);
    forge.write(30, 40, &[(1, 1)]);
    let token = forge.read(Level::Full, 50, 60, None, &[(1, 1)]);
    forge.read(Level::Token, 70, 80, Some(token), &[(0, 0), (1, 0)]);
    assert_eq!(forge.kinds(), [Kind::Token]);
    // What was committed in one go, or before what was shown, comes along.
    let mut forge = Forge::new();
    forge.write(10, 20, &[(0, 1)]);
    forge.write(30, 40, &[(1, 1)]);
    let token = forge.read(Level::Full, 50, 60, None, &[(1, 1)]);
    let passed_on = forge.read(Level::Token, 61, 65, Some(token), &[(2, 0)]);
    forge.read(Level::Token, 70, 80, Some(passed_on), &[(0, 0)]);
    assert_eq!(forge.kinds(), [Kind::Token]);
    // A token that was asked for by itself carries everything.
    let mut forge = Forge::new();
    forge.write(10, 20, &[(0, 1)]);
    let token = forge.read(Level::Full, 50, 60, None, &[]);
    forge.read(Level::Token, 70, 80, Some(token), &[(0, 0)]);
    assert_eq!(forge.kinds(), [Kind::Token]);
    // The token of an answer about something else carries nothing of it.
    let mut forge = Forge::new();
    forge.write(10, 20, &[(0, 1)]);
    let token = forge.read(Level::Full, 50, 60, None, &[(1, 0)]);
    forge.read(Level::Token, 70, 80, Some(token), &[(0, 0)]);
    assert_eq!(forge.kinds(), []);
    // Without a token that carries it the same read is allowed.
    let mut forge = Forge::new();
    forge.write(10, 20, &[(0, 1)]);
    let token = forge.read(Level::Full, 5, 8, None, &[(1, 0)]);
    forge.read(Level::Token, 70, 80, Some(token), &[(0, 0)]);
    assert_eq!(forge.kinds(), []);
}

#[test]
fn the_staleness_bound_is_held() {
    let mut forge = Forge::new();
    forge.write(10, 20, &[(0, 1)]);
    forge.read(Level::Bounded, 60, 70, None, &[(0, 0)]);
    forge.read(Level::Bounded, 71, 80, None, &[(0, 0)]);
    assert_eq!(forge.kinds(), [Kind::Bound]);
}

#[test]
fn what_writers_heard_must_be_so() {
    let mut forge = Forge::new();
    forge.write(10, 20, &[]);
    assert_eq!(forge.kinds(), [Kind::Database]);
    let mut forge = Forge::new();
    forge.write(10, 20, &[(0, 1)]);
    forge.writes[0].heard = Heard::RolledBack;
    assert_eq!(forge.kinds(), [Kind::Database]);
}

#[test]
fn a_weaker_level_and_a_strange_status_are_found() {
    let mut forge = Forge::new();
    forge.read(Level::Full, 10, 20, None, &[(0, 0)]);
    forge.read(Level::Full, 30, 40, None, &[(0, 0)]);
    forge.log.reads[0].level = Level::Bounded;
    forge.log.reads[1].status = 500;
    let kinds: Vec<Kind> = judge(&forge.history()).iter().map(|violation| violation.kind).collect();
    assert_eq!(kinds, [Kind::Contract, Kind::Contract]);
}

/// A history that happened in some order, with each operation's moment somewhere within its span.
fn random(dice: &mut Dice) -> Forge {
    let mut forge = Forge::new();
    let mut state = [0_u32; 3];
    let mut points = Vec::new();
    let some = |dice: &mut Dice| -> Vec<u16> { (0..3).filter(|_| !dice.one_in(2)).collect() };
    for turn in 1..=dice.between(3, 12) {
        let point = 100 + turn * 20;
        let (start, end) = (point - dice.between(0, 60), point + dice.between(0, 60));
        let registers = some(dice);
        if dice.one_in(3) && !registers.is_empty() {
            for register in &registers {
                state[usize::from(*register)] += 1;
            }
            let made: Vec<_> = registers
                .iter()
                .map(|register| (*register, state[usize::from(*register)]))
                .collect();
            forge.write(start, end, &made);
            if dice.one_in(6) {
                forge.writes.last_mut().expect("it was just made").heard = Heard::Nothing;
            }
            continue;
        }
        let shown: Vec<_> = registers
            .iter()
            .map(|register| (*register, state[usize::from(*register)]))
            .collect();
        let place = match dice.below(4) {
            0 if !points.is_empty() => {
                let basis = dice.pick(&points);
                forge.read(
                    Level::Token,
                    end.saturating_sub(dice.between(0, 30)),
                    end,
                    Some(basis),
                    &shown,
                )
            }
            1 => forge.read(Level::Bounded, (start + BOUND).min(end), end, None, &shown),
            _ => forge.read(Level::Full, start, end, None, &shown),
        };
        points.push(place);
    }
    forge
}

/// Changes one thing, which may or may not make it a lie.
fn spoil(forge: &mut Forge, dice: &mut Dice) {
    let versions = |forge: &Forge, register: u16| {
        forge
            .writes
            .iter()
            .flat_map(|write| &write.made)
            .filter(|made| made.0 == register)
            .count()
    };
    match dice.below(3) {
        0 if !forge.log.seen.is_empty() => {
            let place = dice.below(forge.log.seen.len());
            let register = forge.log.seen[place].register;
            let version = dice.below(versions(forge, register) + 1) as u32;
            forge.log.seen[place] = forge.seen(register, version);
        }
        1 if !forge.log.reads.is_empty() => {
            let place = dice.below(forge.log.reads.len());
            let read = &mut forge.log.reads[place];
            let later = dice.between(0, 120);
            (read.start, read.end) = (read.start + later, read.end + later);
        }
        _ => {
            if let Some(write) = forge.writes.last_mut() {
                let earlier = dice.between(0, 80);
                (write.start, write.end) = (write.start.saturating_sub(earlier), write.end.saturating_sub(earlier));
            }
        }
    }
}

/// Both checkers, on what happened and on what did not.
#[test]
fn the_judges_agree_with_the_search_on_random_histories() {
    let (mut true_ones, mut lies) = (0, 0);
    for seed in 0..10_000 {
        let mut dice = Dice::new(seed);
        let mut forge = random(&mut dice);
        let is_spoilt = dice.one_in(2);
        if is_spoilt {
            spoil(&mut forge, &mut dice);
            spoil(&mut forge, &mut dice);
        }
        let history = forge.history();
        let has_an_order = has_an_order(&history);
        let violations = judge(&history);
        // An order of writes that no database could have had is told as such, and judged here all the same.
        assert_eq!(violations.is_empty(), has_an_order, "seed {seed}: {violations:#?}");
        assert!(is_spoilt || has_an_order, "seed {seed}: what happened has an order");
        *(if has_an_order { &mut true_ones } else { &mut lies }) += 1;
    }
    assert!(true_ones > 3_000 && lies > 1_000, "{true_ones} true ones, {lies} lies");
}
