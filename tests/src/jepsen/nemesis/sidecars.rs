//! Sidecars are killed and paused; their ways to the primary are cut, silenced and slowed.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Nemesis, linger};
use crate::{dice::Dice, jepsen::stage::SIDECARS};

pub(super) async fn kill(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let number = dice.below(SIDECARS);
    let place = &nemesis.stage.places[number];
    let mut sidecar = place.sidecar.lock().await;
    if let Some(running) = sidecar.take() {
        running.kill_nine().await?;
    }
    let ms = linger(dice, 0, 600).await;
    *sidecar = Some(place.launch()?);
    Ok(format!("sidecar {} dead for {ms} ms", number + 1))
}

/// Longer than the lease, one or several at once: they wake with entries and leases from before.
pub(super) async fn pause(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let mut numbers: Vec<usize> = (0..SIDECARS).collect();
    dice.shuffle(&mut numbers);
    numbers.truncate(1 + dice.below(2));
    for number in &numbers {
        let sidecar = nemesis.stage.places[*number].sidecar.lock().await;
        sidecar.as_ref().context("pause a sidecar")?.pause()?;
    }
    let ms = linger(dice, 60, 1_200).await;
    for number in &numbers {
        let sidecar = nemesis.stage.places[*number].sidecar.lock().await;
        sidecar.as_ref().context("resume a sidecar")?.resume()?;
    }
    let names: Vec<String> = numbers.iter().map(|number| (number + 1).to_string()).collect();
    Ok(format!("sidecar {} stopped for {ms} ms", names.join(" and ")))
}

pub(super) async fn cut(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let number = dice.below(SIDECARS);
    let link = &nemesis.stage.places[number].postgres_link;
    let how = match dice.below(3) {
        0 => {
            link.cut();
            "cut off"
        }
        1 => {
            link.silence();
            "without a sound"
        }
        _ => {
            link.reset();
            "reset"
        }
    };
    let ms = linger(dice, 50, 1_500).await;
    link.restore();
    Ok(format!("sidecar {} {how} from the primary, {ms} ms", number + 1))
}

pub(super) async fn delay(nemesis: &Nemesis, dice: &mut Dice) -> Result<String> {
    let number = dice.below(SIDECARS);
    let link = &nemesis.stage.places[number].postgres_link;
    let delay_ms = dice.between(2, 60);
    link.delay(Duration::from_millis(delay_ms));
    let ms = linger(dice, 500, 2_000).await;
    link.delay(Duration::ZERO);
    Ok(format!(
        "sidecar {} is {delay_ms} ms from the primary, for {ms} ms",
        number + 1
    ))
}
