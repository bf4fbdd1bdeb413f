//! A Redis Cluster of three nodes on loopback, whose slots can be moved.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{PATIENCE, Redis, ask};
use crate::ports::free_port;

const NODES: u16 = 3;
const SLOTS: u16 = 16_384;

/// Three primaries. They end when dropped.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

/// A slot that is between two nodes.
#[derive(Debug)]
pub struct MovingSlot<'a> {
    cluster: &'a RedisCluster,
    slot: String,
    from: &'a Redis,
    to: &'a Redis,
}

impl RedisCluster {
    /// Starts them, and waits until all slots are served.
    pub async fn start() -> Result<Self> {
        let mut nodes = Vec::new();
        let mut bus_ports = Vec::new();
        for _ in 0..NODES {
            // The usual bus port, 10000 higher, may be beyond the last.
            let bus_port = free_port()?.to_string();
            let options = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "2000",
                "--cluster-port",
                &bus_port,
            ];
            nodes.push(Redis::start_with(&options).await?);
            bus_ports.push(bus_port);
        }
        let each = SLOTS / NODES;
        for (number, node) in (0..NODES).zip(&nodes) {
            let last = if number + 1 == NODES {
                SLOTS
            } else {
                (number + 1) * each
            } - 1;
            let range = [(number * each).to_string(), last.to_string()];
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]])
                .await?;
            for (other, bus_port) in nodes.iter().zip(&bus_ports) {
                let port = other.port().to_string();
                node.command(&["CLUSTER", "MEET", "127.0.0.1", &port, bus_port]).await?;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        for node in &nodes {
            loop {
                let told = node.command(&["CLUSTER", "INFO"]).await?;
                if told.contains("cluster_state:ok") && told.contains("cluster_known_nodes:3") {
                    break;
                }
                ensure!(Instant::now() < deadline, "the cluster does not come together: {told}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(Self { nodes })
    }

    /// The URL, as applications write it; two of the nodes, which know the third.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self
            .nodes
            .iter()
            .take(2)
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// The keys of all nodes that match a pattern.
    pub async fn keys(&self, pattern: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        for node in &self.nodes {
            let of_node = node.command(&["KEYS", pattern]).await?;
            keys.extend(of_node.lines().filter(|key| !key.is_empty()).map(str::to_owned));
        }
        Ok(keys)
    }

    /// Begins to move the slot of a key to another node: its keys may be here or there from now on.
    pub async fn begin_to_move(&self, key: &str) -> Result<MovingSlot<'_>> {
        let slot = self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]).await?;
        let mut from = None;
        for node in &self.nodes {
            // Only who owns a slot counts its keys; the others say 0.
            if node.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).await? != "0" {
                from = Some(node);
            }
        }
        let from = from.context("find the node that holds the key")?;
        let to = self.nodes.iter().find(|node| node.port() != from.port());
        let to = to.context("there is another node")?;
        let [from_id, to_id] = [
            from.command(&["CLUSTER", "MYID"]).await?,
            to.command(&["CLUSTER", "MYID"]).await?,
        ];
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])
            .await?;
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id])
            .await?;
        Ok(MovingSlot {
            cluster: self,
            slot,
            from,
            to,
        })
    }
}

impl MovingSlot<'_> {
    /// Moves the keys that the slot has now, one by one.
    pub async fn move_keys(&self) -> Result<usize> {
        let keys = self
            .from
            .command(&["CLUSTER", "GETKEYSINSLOT", &self.slot, "1000"])
            .await?;
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        let port = self.to.port().to_string();
        for key in &keys {
            let done = self
                .from
                .command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"])
                .await?;
            ensure!(["OK", "NOKEY"].contains(&done.as_str()), "move {key}: {done}");
        }
        Ok(keys.len())
    }

    /// Gives the slot to the new node.
    pub async fn end(self) -> Result<()> {
        let id = self.to.command(&["CLUSTER", "MYID"]).await?;
        // The new owner first, so that the slot is never nobody's.
        let others = self.cluster.nodes.iter().filter(|node| node.port() != self.to.port());
        for node in std::iter::once(self.to).chain(others) {
            ask(node.port(), &["CLUSTER", "SETSLOT", &self.slot, "NODE", &id]).await?;
        }
        Ok(())
    }
}
