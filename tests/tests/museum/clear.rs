//! A clear that does not say what it clears.
//!
//! bentocache #32: over its bus a clear of one namespace cleared everything on the other nodes, or left their memory of that
//! namespace as it was.

use neverstale_cache::Source;
use neverstale_testkit::{Application, Redis};

use crate::{
    house::House,
    naive::namespaced::{Node, Reading},
    pod::Pod,
};

#[tokio::test]
async fn a_naive_bus_clears_too_much_or_too_little() {
    let redis = Redis::start().await.unwrap();
    for (reading, groups, roles) in [
        (Reading::Everything, None, None),
        (Reading::Root, Some("old"), Some("untouched")),
    ] {
        let mut here = Node::start(&redis, reading).await.unwrap();
        let mut there = Node::start(&redis, reading).await.unwrap();
        for node in [&mut here, &mut there] {
            node.set("groups", "u2", "old");
            node.set("roles", "u2", "untouched");
        }
        here.clear(&redis, "groups").await.unwrap();
        there.hear().await.unwrap();
        assert_eq!(here.get("groups", "u2"), None);
        assert_eq!((there.get("groups", "u2"), there.get("roles", "u2")), (groups, roles));
    }
}

#[tokio::test]
async fn ours_names_the_table_and_forgets_that_and_nothing_else() {
    // Without a lease each read takes a fence first: an answer from memory is one that nothing has invalidated.
    let house = House::open(Application::OpenWebUi012, 0).await;
    let pod = Pod::start(&house, house.database.url(), None).await;
    let (groups, role) = ("/v1/users/u2/groups", "/v1/users/u2/role");
    let old = pod.read(groups).await;
    assert_ne!(&old.entry.body[..], b"[]");
    pod.read(role).await;
    assert_eq!(
        (pod.read(groups).await.source, pod.read(role).await.source),
        (Source::L1, Source::L1)
    );
    house.write("TRUNCATE group_member").await;
    let new = pod.read(groups).await;
    assert_eq!((&new.entry.body[..], new.source), (&b"[]"[..], Source::Fill));
    assert_eq!(
        pod.read(role).await.source,
        Source::L1,
        "it does not depend on memberships"
    );
}
