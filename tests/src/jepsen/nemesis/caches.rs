//! Redis lies, forgets, hangs and fails over.

use std::time::Duration;

use anyhow::Result;
use neverstale_testkit::Redis;

use super::{Nemesis, linger};
use crate::dice::Dice;

/// Where an old value is kept until it is put back.
const STASH: &str = "jepsen:stash";
/// Keys that are spoilt at once.
const SPOILT_MAX: usize = 40;

/// Values are cut, overwritten, exchanged for each other's, or replaced by what they were a while ago.
pub(super) async fn spoil(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let stage = &nemesis.stage;
    let (redis, which) = if dice.one_in(2) {
        (&stage.redis, "the single Redis")
    } else {
        (stage.sentinel.primary().await?, "the Sentinel's Redis")
    };
    let keys = keys(redis, dice).await?;
    let what = match dice.below(5) {
        0 => {
            redis.flush().await?;
            "is emptied"
        }
        1 => {
            for key in &keys {
                redis.command(&["SETRANGE", key, "9", "garbage"]).await.ok();
            }
            "holds garbage"
        }
        2 => {
            for key in &keys {
                redis.command(&["SET", key, "nothing of the kind"]).await.ok();
            }
            "holds other things"
        }
        3 => {
            for pair in keys.windows(2) {
                redis.command(&["COPY", &pair[0], &pair[1], "REPLACE"]).await.ok();
            }
            "answers each key with another's value"
        }
        _ => {
            for key in &keys {
                redis
                    .command(&["COPY", key, &format!("{STASH}:{key}"), "REPLACE"])
                    .await
                    .ok();
            }
            linger(dice, 200, 1_500).await;
            for key in &keys {
                redis
                    .command(&["COPY", &format!("{STASH}:{key}"), key, "REPLACE"])
                    .await
                    .ok();
            }
            "holds again what it held a while ago"
        }
    };
    Ok(format!("{which} {what} ({} keys)", keys.len()))
}

/// The single Redis is out of reach, in one of several ways.
pub(super) async fn take_away(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let (redis, link) = (&nemesis.stage.redis, &nemesis.stage.redis_link);
    let way = dice.below(5);
    match way {
        0 => redis.pause()?,
        1 => redis.kill_nine().await?,
        2 => link.cut(),
        3 => link.silence(),
        _ => link.delay(Duration::from_millis(30)),
    }
    let ms = linger(dice, 100, 1_500).await;
    match way {
        0 => redis.resume()?,
        1 => redis.start_again().await?,
        2 | 3 => link.restore(),
        _ => link.delay(Duration::ZERO),
    }
    let how = ["stopped", "dead", "cut off", "without a sound", "slow"][way];
    Ok(format!("the single Redis {how} for {ms} ms"))
}

/// By SIGKILL of its primary, or by order.
pub(super) async fn fail_over(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let failed_over = nemesis.stage.sentinel.fail_over().await.map(drop);
    nemesis.stage.sentinel.bring_back().await?;
    failed_over?;
    linger(dice, 100, 500).await;
    Ok("the Sentinel's primary killed, its replica took over".to_owned())
}

async fn keys(redis: &Redis, dice: &mut Dice) -> Result<Vec<String>> {
    let answer = redis.command(&["KEYS", "neverstale*"]).await?;
    let mut keys: Vec<String> = answer.lines().map(str::to_owned).collect();
    dice.shuffle(&mut keys);
    keys.truncate(SPOILT_MAX);
    Ok(keys)
}
