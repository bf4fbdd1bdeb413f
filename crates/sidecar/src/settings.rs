//! All sections put together, and the conflicts that no section can see alone.

use std::{path::PathBuf, sync::Arc};

use neverstale_admin::AdminSettings;
use neverstale_cache::{AuditSettings, L1Settings};
use neverstale_changefeed::FeedSettings;
use neverstale_ext_authz::ExtAuthzSettings;
use neverstale_flavour::{Flavour, Router};
use neverstale_guard::guard::GuardSettings;
use neverstale_ingress::IngressSettings;
use neverstale_lifecycle::LifecycleSettings;
use neverstale_otlp::{Collector, OtlpSettings};
use neverstale_postgres::{DatabaseSettings, Target};
use neverstale_proxy::ApiSettings;
use neverstale_redis::{Address, RedisSettings};
use neverstale_settings::{Kind, Merged, Place, Problems, Section, SectionSpec, app_environment, settings_file};
use neverstale_telemetry::TelemetrySettings;

use crate::flavour;

neverstale_settings::section! {
    /// What an operator may set for the flavour's views.
    pub(crate) struct FlavourSettings = "flavour";
    /// Sets the flavour's own options by name; a flavour says which it has.
    options: Texts = neverstale_settings::Texts::default(), when "the flavour's file, or its page, says so";
}

macro_rules! tree {
    ($($(#[doc = $help:literal])+ $field:ident: $section:ty,)+) => {
        /// The whole tree.
        #[derive(Clone, Debug)]
        pub(crate) struct Settings {
            $($(#[doc = $help])+ pub(crate) $field: $section,)+
        }

        impl Settings {
            /// Describes all sections, in the order in which they are documented.
            pub(crate) fn sections() -> Vec<SectionSpec> {
                vec![$(<$section as Section>::spec()),+]
            }

            fn read(merged: &Merged, problems: &mut Problems) -> Self {
                Self { $($field: Section::read(merged, problems),)+ }
            }
        }
    };
}

tree! {
    /// The application's Postgres.
    database: DatabaseSettings,
    /// Redis, if there is one.
    redis: RedisSettings,
    /// The flavour's options.
    flavour: FlavourSettings,
    /// Following the log of commits.
    feed: FeedSettings,
    /// Memory of this process.
    l1: L1Settings,
    /// Comparing what is served with the database.
    audit: AuditSettings,
    /// The listener for the application.
    api: ApiSettings,
    /// The listener for the kubelet, Prometheus and operators.
    admin: AdminSettings,
    /// The door in front of the application.
    ingress: IngressSettings,
    /// What the door asks.
    guard: GuardSettings,
    /// The listener for Envoy.
    ext_authz: ExtAuthzSettings,
    /// Log lines.
    telemetry: TelemetrySettings,
    /// Traces and metrics to a collector.
    otlp: OtlpSettings,
    /// Threads and the end.
    lifecycle: LifecycleSettings,
}

/// Settings that were read, and where each came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) merged: Merged,
}

impl Loaded {
    /// Merges all sources and reads the tree.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub(crate) fn load(
        config: Option<PathBuf>,
        variables: &[(String, String)],
        flags: Vec<(String, String, Place)>,
    ) -> Result<Self, Problems> {
        let (mut merged, mut problems) = (Merged::new(&Settings::sections()), Problems::new());
        if let Some(path) = settings_file(config, variables) {
            match std::fs::read_to_string(&path) {
                Ok(text) => merged.add_file(&path, &text, &mut problems),
                Err(error) => problems.add(Place::File { path, line: 1 }, "", format!("can't be read: {error}")),
            }
        }
        app_environment(&mut merged, variables, &mut problems);
        merged.add_environment(
            variables.iter().map(|(name, text)| (name.as_str(), text.as_str())),
            &mut problems,
        );
        for (path, text, place) in flags {
            merged.add_text(&path, &text, place);
        }
        let settings = Settings::read(&merged, &mut problems);
        settings.find_conflicts(&merged, &mut problems);
        problems.none_or(Self { settings, merged })
    }
}

impl Settings {
    /// Notes what is wrong although each value by itself is of its kind and in its range.
    fn find_conflicts(&self, merged: &Merged, problems: &mut Problems) {
        let mut refuse = |path: &str, reason: String| problems.add(merged.place(path), path, reason);
        if let Some(Err(error)) = self.database.url.as_ref().map(|url| Target::parse(url.expose())) {
            refuse("database.url", error.to_string());
        }
        if let Some(Err(reason)) = self.redis.url.as_ref().map(|url| Address::parse(url.expose())) {
            refuse("redis.url", reason);
        }
        if let Err(error) = self.telemetry.check() {
            refuse("telemetry.log_level", error.to_string());
        }
        if let Err(error) = Collector::of(&self.otlp) {
            refuse("telemetry.otlp.endpoint", error.to_string());
        }
        if self.api.socket_token_required && self.api.token_file.is_none() {
            refuse("api.socket_token_required", "needs api.token_file".to_owned());
        }
        for (section, cert, key) in [
            ("api", &self.api.tls_cert_file, &self.api.tls_key_file),
            ("admin", &self.admin.tls_cert_file, &self.admin.tls_key_file),
            ("ingress", &self.ingress.tls_cert_file, &self.ingress.tls_key_file),
        ] {
            if cert.is_some() != key.is_some() {
                let reason = format!("needs {section}.tls_key_file, and the other way round");
                refuse(&format!("{section}.tls_cert_file"), reason);
            }
        }
        if let Err((setting, reason)) = self.ingress.check() {
            refuse(setting, reason);
        }
        if self.ingress.listen.is_some() && self.api.session_secret.is_none() && self.api.session_secret_file.is_none()
        {
            let reason = "needs api.session_secret or api.session_secret_file: without it nobody is known at the door";
            refuse("ingress.listen", reason.to_owned());
        }
        match flavour::named(&self.database.schema) {
            Ok(Some(flavour)) => {
                if let Err(reason) = self.router(flavour) {
                    refuse("flavour.options", reason);
                }
            }
            // Its options are checked when it has been detected.
            Ok(None) => {}
            Err(reason) => refuse("database.schema", reason),
        }
        for path in files(merged) {
            if let Err(error) = merged
                .given_path(&path)
                .map_or(Ok(()), |file| std::fs::File::open(file).map(drop))
            {
                refuse(&path, format!("can't be opened: {error}"));
            }
        }
    }

    /// Makes the router of a flavour with the operator's options.
    ///
    /// # Errors
    /// An option that the flavour does not have.
    pub(crate) fn router(&self, flavour: Flavour) -> Result<Router, String> {
        Router::new(Arc::new(flavour), &self.flavour.options).map_err(|error| error.to_string())
    }
}

/// Lists the settings that name a file to read: those that end in `_file`.
fn files(merged: &Merged) -> Vec<String> {
    let is_file = |path: &str| path.ends_with("_file") && merged.kind(path) == Some(Kind::Path);
    merged
        .given()
        .map(|(path, _)| path.to_owned())
        .filter(|path| is_file(path))
        .collect()
}
