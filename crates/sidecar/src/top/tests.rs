use neverstale_wire::status::{
    AuditStatus, FeedStatus, InstallationStatus, L1Status, L2Status, ReadsStatus, StatusReason,
};

use super::*;

fn told(reads: u64) -> Told {
    Told {
        status: Status {
            ready: true,
            installation: InstallationStatus {
                flavour: "openwebui-0.12".to_owned(),
                ..InstallationStatus::default()
            },
            feed: FeedStatus {
                applied: 4711,
                lag_ms: 2,
                lease_remaining_ms: 31,
                fence_round_trip_us: 98,
                relay: true,
                ..FeedStatus::default()
            },
            l1: L1Status {
                bytes: 3 << 20,
                ..L1Status::default()
            },
            l2: Some(L2Status {
                target: "one host".to_owned(),
                connected: false,
                ..L2Status::default()
            }),
            reads: ReadsStatus {
                total: reads,
                l1_hits: reads / 10 * 9,
                ..ReadsStatus::default()
            },
            audit: AuditStatus { compared: 12, stale: 0 },
            ..Status::default()
        },
        standing: "serving".to_owned(),
        standing_reason: None,
        changes: vec![Change {
            position: 4711,
            tags: vec!["user.id:u1".to_owned(), "group.id:g1".to_owned()],
            tags_more: 3,
        }],
    }
}

fn watched(address: &str, told: Result<Told, String>) -> Watched {
    let mut watched = Watched::new(address).unwrap();
    watched.told = told;
    watched
}

#[test]
fn everything_that_matters_is_in_the_picture() {
    let mut busy = watched("127.0.0.1:7381", Ok(told(20_000)));
    busy.rates = Rates::between(&told(0).status, &told(20_000).status, Duration::from_secs(2));
    let mut sick = told(0);
    sick.status.ready = false;
    sick.status.l2 = None;
    sick.status.audit.stale = 1;
    sick.status.feed = FeedStatus::default();
    sick.standing = "bypass".to_owned();
    sick.standing_reason = Some("the trigger of table user is disabled".to_owned());
    sick.status.reasons.push(StatusReason {
        key: "installation".to_owned(),
        text: "run neverstale install".to_owned(),
    });
    let all = [
        busy,
        watched("10.0.0.2:7381", Ok(sick)),
        watched("10.0.0.3:7381", Err("Connection refused".to_owned())),
    ];
    insta::assert_snapshot!(plain(&all));
}

#[test]
fn nothing_is_divided_by_nothing() {
    let rates = Rates::between(&told(10).status, &told(5).status, Duration::ZERO);
    assert_eq!(rates, Rates::default());
    let all = [watched("127.0.0.1:7381", Err("not asked yet".to_owned()))];
    assert!(plain(&all).contains("0 of 1 ready"));
}
