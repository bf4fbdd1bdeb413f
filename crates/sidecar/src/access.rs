//! `access grant`, `revoke`, `show`, `who-can`, `explain`: who may do what, straight in the database, for its operator.
//!
//! Questions are answered in one snapshot, by the views and the rules that sidecars decide by; no sidecar need run.

use anyhow::{Context, anyhow};
use neverstale_flavour::{AccessRules, Flavour, Read, Router};
use neverstale_postgres::Connection;
use neverstale_rbac::{
    Action, Decision, Facts, Grant, LookedFor, Permission, Principal, ResourceRef, ResourceType, Rules, Subject,
    decide, overlay,
};
use serde_json::{Value, json};
use tokio_postgres::types::{ToSql, Type};

use crate::{
    cli::{AccessCommand, Granting, Resource},
    database,
    exit::{Exit, Failure},
    flavour, output, rbac,
    settings::Settings,
};

pub(crate) async fn run(settings: &Settings, asked: &AccessCommand) -> Result<Exit, Failure> {
    let desk = Desk::open(settings).await?;
    match asked {
        AccessCommand::Grant(asked) => {
            desk.change(asked, overlay::with_grant, "granted", "was granted already")
                .await
        }
        AccessCommand::Revoke(asked) => {
            desk.change(asked, overlay::without_grant, "revoked", "was not granted")
                .await
        }
        AccessCommand::Show(resource) => desk.show(&resource.named()).await,
        AccessCommand::WhoCan { action, resource } => desk.who_can(*action, &resource.named()).await,
        AccessCommand::Explain { user, resource } => desk.explain(user, &resource.named()).await,
    }
}

impl Resource {
    fn named(&self) -> ResourceRef {
        ResourceRef::new(self.kind, self.id.clone())
    }
}

impl Granting {
    fn grant(&self) -> Grant {
        let principal = match (&self.user, &self.group) {
            (Some(user), _) => Principal::User(user.clone()),
            (None, Some(group)) => Principal::Group(group.clone()),
            (None, None) => Principal::Everyone,
        };
        let permission = if self.write {
            Permission::Write
        } else {
            Permission::Read
        };
        Grant { principal, permission }
    }
}

/// The database with the views and the rules of its flavour.
struct Desk {
    connection: Connection,
    router: Router,
    access: AccessRules,
    rules: Rules,
    app_schema: String,
}

impl Desk {
    async fn open(settings: &Settings) -> Result<Self, Failure> {
        let connection = database::connect(&settings.database).await?;
        let flavour: Flavour = flavour::choose(&connection, &settings.database).await?;
        let none = || anyhow!("flavour {} has no rules of access", flavour.name);
        let access = flavour.access.clone().ok_or_else(none)?;
        rbac::must_exist(connection.client()).await?;
        let router = settings
            .router(flavour)
            .map_err(|reason| Failure::usage(anyhow!(reason)))?;
        Ok(Self {
            connection,
            router,
            rules: Rules::new(&access),
            access,
            app_schema: settings.database.app_schema.clone(),
        })
    }

    async fn change(
        &self,
        asked: &Granting,
        edit: impl Fn(&Value, &Grant) -> Option<Value>,
        done: &str,
        nothing: &str,
    ) -> Result<Exit, Failure> {
        let (resource, grant) = (asked.resource.named(), asked.grant());
        if !resource.kind.is_overlaid() {
            return Err(Failure::usage(anyhow!(
                "a {} is granted in the application; here only functions and pipelines are",
                resource.kind
            )));
        }
        self.begin("READ COMMITTED").await?;
        self.must_be_there(&resource, &grant).await?;
        let client = self.connection.client();
        let (kind, id) = (resource.kind.name(), resource.id.as_str());
        let made = client
            .execute(overlay::MAKE, &[&kind, &id])
            .await
            .context("make room for the grant")?;
        let row = client
            .query_one(overlay::LOCK, &[&kind, &id])
            .await
            .context("lock the grants")?;
        // Under the lock: nobody can come in between. What was made a moment ago was not there for anybody else.
        let version = if made > 0 { 0 } else { row.get::<_, i64>(1) };
        if asked.version.is_some_and(|expected| expected != version) {
            client.batch_execute("ROLLBACK").await.context("end")?;
            return Err(anyhow!("{resource} is at version {version}; nothing was changed").into());
        }
        let Some(document) = edit(&row.get(0), &grant) else {
            client.batch_execute("ROLLBACK").await.context("end")?;
            output::result(&format!("{resource} {nothing}; nothing was changed"));
            return Ok(Exit::Ok);
        };
        client
            .execute(overlay::REPLACE, &[&kind, &id, &document])
            .await
            .context("write the grants")?;
        client.batch_execute("COMMIT").await.context("commit the grants")?;
        output::result(&format!("{resource} is {done}: every decision from now on knows"));
        Ok(Exit::Ok)
    }

    /// A grant of what does not exist, or for whom does not, is a slip of the pen.
    async fn must_be_there(&self, resource: &ResourceRef, grant: &Grant) -> Result<(), Failure> {
        if resource.kind == ResourceType::Function && self.facts(resource).await?.get(resource).is_none() {
            return Err(anyhow!("there is no {resource}").into());
        }
        let (table, id) = match &grant.principal {
            Principal::User(id) => ("user", id),
            Principal::Group(id) => ("group", id),
            Principal::Everyone => return Ok(()),
        };
        let sql = format!("SELECT FROM {}.\"{table}\" WHERE id = $1", self.quoted_schema());
        let found = self
            .connection
            .client()
            .query_opt(&sql, &[id])
            .await
            .context("look for whom it is granted to")?;
        found
            .map(drop)
            .ok_or_else(|| anyhow!("there is no {table} {id}").into())
    }

    async fn show(&self, resource: &ResourceRef) -> Result<Exit, Failure> {
        let facts = self.facts(resource).await?;
        let Some(known) = facts.get(resource) else {
            return Err(anyhow!("there is no {resource}").into());
        };
        output::json(&json!({
            "resource": resource, "owner": known.owner, "kind": known.kind, "active": known.active, "base": known.base,
            "version": known.version, "grants": known.grants,
        }));
        Ok(Exit::Ok)
    }

    async fn who_can(&self, action: Action, resource: &ResourceRef) -> Result<Exit, Failure> {
        self.begin("REPEATABLE READ READ ONLY").await?;
        let facts = self.facts(resource).await?;
        let sql = format!("SELECT id::text FROM {}.\"user\" ORDER BY id", self.quoted_schema());
        let users = self
            .connection
            .client()
            .query(&sql, &[])
            .await
            .context("list the users")?;
        let mut lines = Vec::new();
        for user in users {
            let user: String = user.get(0);
            let decision = self.decide(&user, action, resource, &facts).await?;
            if decision.allowed {
                lines.push(format!("{user}\t{decision}"));
            }
        }
        if lines.is_empty() {
            lines.push(format!("nobody may {action} {resource}"));
        }
        output::result(&lines.join("\n"));
        Ok(Exit::Ok)
    }

    async fn explain(&self, user: &str, resource: &ResourceRef) -> Result<Exit, Failure> {
        self.begin("REPEATABLE READ READ ONLY").await?;
        let facts = self.facts(resource).await?;
        let mut lines = Vec::new();
        for action in Action::ALL {
            lines.push(format!(
                "{action}\t{}",
                self.decide(user, action, resource, &facts).await?
            ));
        }
        output::result(&lines.join("\n"));
        Ok(Exit::Ok)
    }

    async fn decide(
        &self,
        user: &str,
        action: Action,
        resource: &ResourceRef,
        facts: &Facts,
    ) -> Result<Decision, Failure> {
        let Some(body) = self.body(&self.access.subject, user).await? else {
            return Ok(Decision::denied(LookedFor::Subject));
        };
        let subject = Subject::parse(body.as_bytes()).context("read a user")?;
        Ok(decide(&self.rules, &subject, action, resource, facts))
    }

    async fn facts(&self, resource: &ResourceRef) -> Result<Facts, Failure> {
        let of_type = self.access.types.iter().find(|one| one.name == resource.kind.name());
        let of_type =
            of_type.ok_or_else(|| anyhow!("this flavour has no rules for resources of type {}", resource.kind))?;
        let body = self.body(&of_type.view, &resource.id).await?.unwrap_or_default();
        Ok(Facts::parse(body.as_bytes()).context("read a resource")?)
    }

    /// Asks a view straight.
    async fn body(&self, view: &str, id: &str) -> Result<Option<String>, Failure> {
        let read: Read = self
            .router
            .read_of(view, "", &[id])
            .ok_or_else(|| anyhow!("no view {view}"))?;
        let sql = self.router.flavour().view_sql(read.view, &self.app_schema);
        let params: Vec<(&(dyn ToSql + Sync), Type)> = read
            .params
            .iter()
            .map(|param| (param as &(dyn ToSql + Sync), Type::TEXT))
            .collect();
        let sql = format!("SELECT v.body::text FROM ({sql}) v");
        let row = self.connection.client().query_typed_one(&sql, &params).await;
        Ok(row.context("ask for what a decision rests on")?.get(0))
    }

    async fn begin(&self, level: &str) -> Result<(), Failure> {
        let begin = format!("BEGIN ISOLATION LEVEL {level}");
        Ok(self.connection.client().batch_execute(&begin).await.context("begin")?)
    }

    fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.app_schema.replace('"', "\"\""))
    }
}
