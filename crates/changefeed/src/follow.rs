//! Folding commits into the world: from the log, or from the word of the relay where that is as good.

use std::sync::Arc;

use neverstale_coherence::{BroadcastVerdict, PageVerdict, Position, Row, judge_broadcast, judge_page};
use neverstale_postgres::{FeedConnection, LogRow, tag_of};
use neverstale_telemetry::{BroadcastDirection, BroadcastOutcome};
use neverstale_wire::{BellReason, Heard, Invalidation, InvalidationRow};

use crate::{
    Serving,
    session::{Session, SessionEnd},
};

/// Commits of one page of the log.
const PAGE_ROWS: u32 = 512;

impl Session {
    /// Fetches the log from where we are to where it is.
    pub(crate) async fn catch_up(
        &mut self,
        connection: &FeedConnection,
        serving: &Arc<Serving>,
    ) -> Result<(), SessionEnd> {
        let mut rows_max = PAGE_ROWS;
        loop {
            let before = serving.world.applied();
            let page = match self.shared.vigil.over(connection.log_page(before, rows_max)).await {
                // Commits of a thousand tags each: ask for fewer of them.
                Err(error) if error.is_too_much() && rows_max > 1 => {
                    rows_max /= 8;
                    continue;
                }
                page => page?,
            };
            let up_to = match judge_page(&serving.world, before, &page.head) {
                PageVerdict::Foreign(foreign) => return Err(SessionEnd::Foreign(foreign)),
                PageVerdict::Skip(newest) => {
                    tracing::info!(
                        from = before.0,
                        to = newest.0,
                        "the log no longer reaches back to us: starting cold"
                    );
                    serving.world.skip_to(newest);
                    self.shared.metrics.log_pruned_past_total.inc();
                    self.shared.history.gap(page.head.incarnation, newest);
                    serving.tell_applied();
                    return Ok(());
                }
                PageVerdict::Apply(up_to) => up_to,
            };
            self.fold(serving, before, up_to, &page.rows);
            if page.head.cut_at.is_none() {
                return Ok(());
            }
        }
    }

    /// Applies rows that are complete for (`before`, `up_to`], then tells everybody.
    fn fold(&mut self, serving: &Arc<Serving>, before: Position, up_to: Position, rows: &[LogRow]) {
        let folded: Vec<Row> = rows.iter().map(reckon).collect();
        serving.world.apply(&folded, up_to);
        self.settled.learn(&folded);
        serving.tell_applied();
        self.shared.history.add(serving.world.incarnation(), rows);
        self.relay.spread(serving.world.incarnation(), before, up_to, rows);
    }

    /// Acts on what was heard on the channel.
    pub(crate) async fn hear(
        &mut self,
        connection: &FeedConnection,
        serving: &Arc<Serving>,
        heard: Heard,
    ) -> Result<(), SessionEnd> {
        let counted = |outcome| self.shared.metrics.broadcasts_total[BroadcastDirection::Received][outcome].inc();
        let told = match heard {
            Heard::Rows(told) => told,
            Heard::Bell(reason) => {
                counted(outcome_of(reason));
                return self.catch_up(connection, serving).await;
            }
        };
        match judge_broadcast(&serving.world, told.incarnation, told.previous_position, told.position) {
            BroadcastVerdict::Apply => {
                counted(BroadcastOutcome::Applied);
                let before = serving.world.applied();
                self.fold(serving, before, told.position, &rows_of(told));
                Ok(())
            }
            BroadcastVerdict::Known => {
                counted(BroadcastOutcome::Applied);
                Ok(())
            }
            BroadcastVerdict::Gap => {
                counted(BroadcastOutcome::Gap);
                self.catch_up(connection, serving).await
            }
            BroadcastVerdict::Foreign => {
                counted(BroadcastOutcome::Foreign);
                self.fence(connection, serving).await
            }
        }
    }
}

fn reckon(row: &LogRow) -> Row {
    Row {
        position: row.position,
        intent: row.intent,
        tags: row.tags.iter().map(|tag| tag_of(tag)).collect(),
    }
}

fn outcome_of(reason: BellReason) -> BroadcastOutcome {
    match reason {
        BellReason::Sent => BroadcastOutcome::Bell,
        BellReason::Version => BroadcastOutcome::Version,
        BellReason::Garbage => BroadcastOutcome::Garbage,
        BellReason::Foreign | BellReason::Unauthentic => BroadcastOutcome::Unauthentic,
    }
}

fn rows_of(told: Invalidation) -> Vec<LogRow> {
    let row = |row: InvalidationRow| LogRow {
        position: row.position,
        intent: row.intent,
        tags: row.tags,
    };
    told.rows.into_iter().map(row).collect()
}
