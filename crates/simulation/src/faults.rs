//! Who makes things go wrong, and puts them right again.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use neverstale_flavour::Flavour;
use tokio::time::sleep;

use crate::{
    chance::Chance,
    network::Link,
    plan::Fault,
    pod::{Place, Pod, Redis},
    workload::Scene,
};

/// Everything that can go wrong, and what is needed to put it right.
#[derive(Clone)]
pub(crate) struct Nemesis {
    /// What happens, and what was planned.
    pub(crate) scene: Scene,
    /// Where the sidecars run.
    pub(crate) places: Vec<Place>,
    /// The sidecars that run there now.
    pub(crate) pods: Arc<Mutex<Vec<Pod>>>,
    /// The writers' links.
    pub(crate) writers: Vec<Link>,
    /// What the sidecars serve.
    pub(crate) flavour: Arc<Flavour>,
    /// Draws what happens.
    pub(crate) chance: Chance,
}

impl Nemesis {
    /// Lets things go wrong until it is over, then puts everything right.
    pub(crate) async fn run(self) {
        let plan = Arc::clone(&self.scene.plan);
        while !plan.faults.is_empty() && !self.scene.is_over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(self.chance.among(plan.fault_pause_ms.clone()))).await;
            let fault = self.chance.one(&plan.faults);
            self.scene.judge.count(fault.name());
            self.cause(fault).await;
        }
    }

    async fn cause(&self, fault: Fault) {
        let at = self.chance.among(0..=self.places.len() as u64 - 1) as usize;
        let (place, server) = (&self.places[at], &self.scene.server);
        let span = |most| Duration::from_millis(self.chance.among(1..=most));
        if matches!(
            fault,
            Fault::Partition
                | Fault::RedisPartition
                | Fault::Cut
                | Fault::Slow
                | Fault::Suspend
                | Fault::Pause
                | Fault::Kill
        ) {
            self.scene
                .story
                .tell(place.name, format_args!("meets a fault: {}", fault.name()));
        }
        match fault {
            Fault::Partition => {
                place.postgres.partition();
                self.later(span(600), place, |place| place.postgres.heal());
            }
            Fault::Cut => place.postgres.cut(),
            Fault::Slow => {
                place.postgres.slow(5..=60);
                let delay_ms = self.scene.plan.delay_ms.clone();
                self.later(span(300), place, move |place| place.postgres.slow(delay_ms));
            }
            Fault::Pause => {
                let gate = self.pod(at).tasks.gate().clone();
                gate.shut();
                self.later(span(400), place, move |_| gate.open());
            }
            Fault::Suspend => {
                let (pod, span) = (self.pod(at), span(400));
                pod.tasks.gate().shut();
                self.later(span, place, move |_| {
                    pod.clock.was_suspended(span);
                    pod.tasks.gate().open();
                });
            }
            Fault::Kill => {
                let pod = self.start(at);
                let killed = std::mem::replace(&mut self.pods.lock().expect("nobody panics while starting")[at], pod);
                killed.tasks.gate().kill();
                place.postgres.cut();
                if let Some(redis) = &place.redis {
                    redis.link.cut();
                }
            }
            Fault::WriterCut => self.chance.one(&self.writers).cut(),
            Fault::Terminate => server.terminate_one(),
            Fault::Crash => {
                // Who may still hold a lease can't know of a loss (docs/CONSISTENCY.md): a recovery takes longer than that.
                let lease = if server.crash() {
                    self.scene.plan.lease_ms * 5 / 4
                } else {
                    0
                };
                sleep(Duration::from_millis(lease) + span(200)).await;
                server.come_back();
            }
            Fault::Restart => {
                server.stop();
                sleep(span(200)).await;
                server.come_back();
            }
            Fault::Prune => drop(server.prune(1)),
            Fault::RedisPartition => {
                if let Some(redis) = place.redis.clone() {
                    redis.link.partition();
                    self.later(span(400), place, move |_| redis.link.heal());
                }
            }
            Fault::RedisRestart => self.on_redis(|redis| redis.store.restart()),
            Fault::RedisRewind => self.on_redis(|redis| redis.store.rewind()),
            Fault::RedisForge => self.on_redis(|redis| redis.store.forge(server)),
            Fault::RedisScramble => self.on_redis(|redis| redis.store.scramble()),
            Fault::Triggers => self.disable_triggers(span(300)).await,
        }
    }

    /// Starts a sidecar at a place, with its readers.
    pub(crate) fn start(&self, at: usize) -> Pod {
        let place = &self.places[at];
        let pod = place.start(&self.scene.plan, &self.flavour, &self.scene.server);
        self.scene.story.tell(place.name, "starts");
        let readers = (1..=self.scene.plan.readers).map(|number| {
            let name = format!("{}.{number}", place.name);
            self.scene.clone().read(name, pod.clone(), self.chance.fork())
        });
        // One task for all: whom a change wakes first is left to chance by tokio, in which order they go on is not.
        let reading = futures_util::future::join_all(readers);
        let gate = pod.tasks.gate().clone();
        tokio::spawn(gate.through(async move {
            reading.await;
        }));
        pod
    }

    fn on_redis(&self, act: impl FnOnce(&Redis)) {
        if let Some(redis) = &self.places[0].redis {
            act(redis);
        }
    }

    fn pod(&self, at: usize) -> Pod {
        self.pods.lock().expect("nobody panics while starting")[at].clone()
    }

    fn later(&self, span: Duration, place: &Place, mend: impl FnOnce(&Place) + Send + 'static) {
        let (place, story) = (place.clone(), self.scene.story.clone());
        tokio::spawn(async move {
            sleep(span).await;
            mend(&place);
            story.tell(place.name, "is well again");
        });
    }

    /// A change by DDL is seen by the next fence, so at most one lease late (docs/CONSISTENCY.md): nobody writes meanwhile.
    async fn disable_triggers(&self, span: Duration) {
        let (server, scene) = (&self.scene.server, &self.scene);
        scene.is_quiet.store(true, Ordering::Relaxed);
        while scene.writing.load(Ordering::Relaxed) > 0 {
            sleep(Duration::from_millis(5)).await;
        }
        server.set_triggers(false).await;
        sleep(Duration::from_millis(scene.plan.lease_ms * 5 / 4)).await;
        scene.is_quiet.store(false, Ordering::Relaxed);
        sleep(span).await;
        server.set_triggers(true).await;
    }
}
