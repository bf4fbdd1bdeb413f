//! The command line: what can be asked, and with which flags.
//!
//! Every setting is a flag too; the few that most people need are in `--help`, the others in docs/CONFIGURATION.md.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use neverstale_rbac::{Action, ResourceType};
use neverstale_settings::{Place, flag_values, flags};

use crate::{exit::EXIT_CODES, settings::Settings};

/// The settings whose flags `--help` shows, under these names.
const SHOWN: [(&str, &str); 6] = [
    ("database-url", "database.url"),
    ("redis-url", "redis.url"),
    ("schema", "database.schema"),
    ("api-listen", "api.listen"),
    ("api-socket", "api.socket"),
    ("admin-listen", "admin.listen"),
];

/// Never-stale reads of an application's users, groups, permissions and settings
///
/// A sidecar that answers from memory and is linearizable with commits on the Postgres primary. `install` puts triggers
/// into the application's database, `serve` answers reads, `doctor` says what is wrong and what to do.
#[derive(Debug, Parser)]
#[command(name = "neverstale", version)]
pub(crate) struct Cli {
    /// Reads settings from this TOML file [variable: `NEVERSTALE_CONFIG`]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,

    /// Settings given as flags: path, text and place.
    #[arg(skip)]
    pub(crate) flags: Vec<(String, String, Place)>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answers reads until it is told to end (SIGTERM, SIGINT or POST /quitquitquit); installs nothing
    Serve,
    /// Installs what is missing or different in the application's database, and nothing else; safe to repeat
    Install(Install),
    /// Removes everything that install made
    Uninstall(Locking),
    /// Says what is missing, disabled or of another version; exit code 3 if anything is
    Verify(Report),
    /// Takes the triggers off, so that a migration may alter watched columns; reads are passed through meanwhile
    Suspend(Locking),
    /// Puts the triggers back after a migration
    Resume(Locking),
    /// Shows the lease, or sets it in the safe order: commits of watched rows wait that long, reads need no question
    Lease(Lease),
    /// Fills, empties or checks the table that says who may use functions and pipelines, which the application lets every admin use
    Rbac(Rbac),
    /// Shows and changes who may do what, straight in the database
    Access(Access),
    /// Examines a deployment and says what to do about each finding
    Doctor(Doctor),
    /// Validates the settings and the flavour file without starting; reports all problems at once
    Check,
    /// Compares a running sidecar's answers with Postgres at the same position; exit code 3 if one differs
    Audit(Audit),
    /// Watches running sidecars in the terminal: reads, hits, leases, positions, the last invalidations, and what is wrong
    Top(Top),
    /// Prints the documentation of all settings
    Settings(SettingsDocument),
    /// Prints the documentation of all metrics
    Metrics(MetricsDocument),
    /// Prints the HTTP contract as OpenAPI 3.1, for the flavour of --schema (detect: the newest)
    Openapi,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Prints the SQL that would run, and runs none of it
    #[arg(long)]
    pub(crate) print_sql: bool,
    /// Sets the lease, in milliseconds; a first install takes 50, another one keeps what is set
    #[arg(long, value_name = "MS")]
    pub(crate) lease_ms: Option<u32>,
    /// Grants this role what a sidecar needs, for sidecars that do not connect as the owner
    #[arg(long, value_name = "ROLE")]
    pub(crate) reader: Option<String>,
    #[command(flatten)]
    pub(crate) locking: Locking,
}

#[derive(Debug, Args)]
pub(crate) struct Locking {
    /// Limits how long one attempt waits for a table's lock, and so keeps the application waiting behind it
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pub(crate) lock_timeout_ms: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Prints the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Lease {
    /// The new lease in milliseconds; 0 means that every fully consistent read asks Postgres
    pub(crate) ms: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Rbac {
    #[command(subcommand)]
    pub(crate) command: RbacCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RbacCommand {
    /// Gives each function that has none the grants that its owner's models already imply; safe to repeat
    Install(PrintSql),
    /// Takes all grants of functions and pipelines away; what is left is what each owner has
    Uninstall(PrintSql),
    /// Says which grants speak of nothing that exists, or can't be understood; exit code 3 if any does
    Verify(Report),
}

#[derive(Debug, Args)]
pub(crate) struct PrintSql {
    /// Prints the SQL that would run, and runs none of it
    #[arg(long)]
    pub(crate) print_sql: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Access {
    #[command(subcommand)]
    pub(crate) command: AccessCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// Grants a function or a pipeline; everything else is granted in the application
    Grant(Granting),
    /// Takes a grant of a function or a pipeline away
    Revoke(Granting),
    /// Shows whose a resource is, and whom it is granted to
    Show(Resource),
    /// Lists who may do something with a resource, and why
    WhoCan {
        /// read, write, execute or read-valves
        action: Action,
        #[command(flatten)]
        resource: Resource,
    },
    /// Says what a user may do with a resource, action by action, and why
    Explain {
        /// The user's id
        user: String,
        #[command(flatten)]
        resource: Resource,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Resource {
    /// function, tool, model, prompt, knowledge or pipeline
    #[arg(value_name = "TYPE")]
    pub(crate) kind: ResourceType,
    /// Its id; of a pipeline the index of its server, a colon, and its id
    pub(crate) id: String,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("principal").required(true))]
pub(crate) struct Granting {
    #[command(flatten)]
    pub(crate) resource: Resource,
    /// For this user
    #[arg(long, value_name = "ID", group = "principal")]
    pub(crate) user: Option<String>,
    /// For the members of this group
    #[arg(long, value_name = "ID", group = "principal")]
    pub(crate) group: Option<String>,
    /// For everybody
    #[arg(long, group = "principal")]
    pub(crate) everybody: bool,
    /// To change it; otherwise to see and to use it
    #[arg(long)]
    pub(crate) write: bool,
    /// Only if the grants are still at this version, as `access show` tells it; 0 where there are none yet
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<i64>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) report: Report,
    /// Measures what a watched commit costs, by publishing one commit that changes nothing
    #[arg(long)]
    pub(crate) measure_commit: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// The sidecar's api listener: address and port, or the path of its socket
    #[arg(long, value_name = "ADDRESS|PATH", default_value = "127.0.0.1:7380")]
    pub(crate) sidecar: String,
    /// The file with the bearer token that the listener asks for
    #[arg(long, value_name = "PATH")]
    pub(crate) token_file: Option<PathBuf>,
    /// How many users to draw at random when no paths are given
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub(crate) users: u32,
    /// Goes on comparing the same paths, which the sidecar answers from cache then, for a time such as 60s or 5m; otherwise once
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) span: Option<Duration>,
    /// How many answers to compare in a second at most; each is one read and one query to Postgres
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// The paths to compare, such as /v1/users/u1/role
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    #[command(flatten)]
    pub(crate) report: Report,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// The admin listeners to watch, as address and port
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:7381")]
    pub(crate) sidecars: Vec<String>,
    /// How often to ask
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) interval: Duration,
    /// Asks twice, prints what it has learnt, and ends; exit code 3 if a sidecar is not ready
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SettingsDocument {
    /// Prints docs/CONFIGURATION.md
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Prints the JSON Schema of the settings file
    #[arg(long)]
    pub(crate) json_schema: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MetricsDocument {
    /// Prints docs/METRICS.md
    #[arg(long, required = true)]
    pub(crate) markdown: bool,
}

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    /// What clap says; `--help` and `--version` come as errors too.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let sections = Settings::sections();
        let mut command = Self::command()
            .max_term_width(120)
            .after_help(EXIT_CODES)
            .after_long_help(format!("{EXIT_CODES}\n\n{MORE_FLAGS}"))
            .args(flags(&sections, &SHOWN));
        let names: Vec<String> = command
            .get_subcommands()
            .map(|command| command.get_name().to_owned())
            .collect();
        for name in names {
            command = command.mut_subcommand(name, |command| command.after_help(EXIT_CODES));
        }
        let matches = command.try_get_matches_from(words)?;
        let mut line = Self::from_arg_matches(&matches)?;
        line.flags = flag_values(&sections, &SHOWN, &matches);
        Ok(line)
    }
}

const MORE_FLAGS: &str = "\
Every setting is a flag: cache.l1.bytes_max is --cache-l1-bytes-max. `neverstale settings --markdown` lists them.
DATABASE_URL and REDIS_URL are understood as the application writes them; NEVERSTALE_… variables and flags win.";
