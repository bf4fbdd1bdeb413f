//! Titles are made by one model, for those who may use it; the others get none.
//!
//! A title that is asked for by itself is asked of that model. In the course of a chat the application chooses its own task model, which
//! a request can't name: there titles are only left out. Off where no model is named.

use bytes::Bytes;
use neverstale_cache::Level;
use neverstale_flavour::with_value;
use neverstale_identity::Caller;
use neverstale_rbac::{Action, ResourceRef, ResourceType};
use neverstale_telemetry::DoorOutcome;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::guard::{
    Verdict,
    answers::Reason,
    judge::{Judge, is_first_allowed, reason_for},
    rule::Task,
};

/// What is looked at of a chat.
#[derive(Deserialize)]
struct Chat {
    background_tasks: Option<BackgroundTasks>,
}

#[derive(Deserialize)]
struct BackgroundTasks {
    title_generation: Option<Value>,
}

impl Judge {
    /// The request as it goes on: as it is, with another body, or answered.
    ///
    /// # Errors
    /// The body or the right can't be judged.
    pub(crate) async fn with_title(
        &self,
        task: Task,
        caller: &Caller,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Verdict, Reason> {
        let Some(wanted) = &self.title_model else {
            return Ok(Verdict::Pass);
        };
        if task == Task::Chat && !asks_for_a_title(body)? {
            return Ok(Verdict::Pass);
        }
        let model = self.title_model_of(caller, wanted, deadline).await?;
        let (path, value) = match (task, model) {
            (Task::Title, None) => {
                self.metrics.ingress_decisions_total[DoorOutcome::Answered].inc();
                return Ok(Verdict::Answer(self.routes.answers.titles_off.response()));
            }
            (Task::Title, Some(model)) => ("model", Value::from(model).to_string()),
            (_, Some(_)) => return Ok(Verdict::Pass),
            (_, None) => ("background_tasks.title_generation", "false".to_owned()),
        };
        let text = std::str::from_utf8(body).map_err(|_| Reason::Unclear)?;
        let rewritten = with_value(text, path, &value).map_err(|_| Reason::Unclear)?;
        Ok(Verdict::PassWith(Bytes::from(rewritten)))
    }

    /// The model of that name that a caller may use: by its own id, or by the id under which a provider or a pipe offers it.
    async fn title_model_of(&self, caller: &Caller, wanted: &str, deadline: Instant) -> Result<Option<String>, Reason> {
        let level = Level::FullyConsistent;
        let (user_id, kind) = (caller.user_id.as_str(), ResourceType::Model);
        let own = [(Action::Execute, ResourceRef::new(kind, wanted))];
        let decided = self.decider.decide_by_list(user_id, &own, kind, level, deadline);
        if is_first_allowed(&decided.await.map_err(|error| reason_for(&error))?.decisions) {
            return Ok(Some(wanted.to_owned()));
        }
        let visible = self.decider.visible(user_id, Action::Execute, kind, level, deadline);
        let ids = visible.await.map_err(|error| reason_for(&error))?.ids;
        let is_it = |id: &String| {
            id.strip_suffix(wanted)
                .is_some_and(|before| before.ends_with(['.', '/']))
        };
        Ok(ids.into_iter().find(is_it))
    }
}

/// Whether a chat asks for a title: the application takes whatever Python holds to be true.
fn asks_for_a_title(body: &[u8]) -> Result<bool, Reason> {
    let chat: Chat = serde_json::from_slice(body).map_err(|_| Reason::Unclear)?;
    let wish = chat.background_tasks.and_then(|tasks| tasks.title_generation);
    Ok(match wish.unwrap_or_default() {
        Value::Null => false,
        Value::Bool(wish) => wish,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_holds_to_be_true_asks_for_a_title() {
        let asks = |wish: &str| {
            let body = format!(r#"{{"background_tasks": {{"title_generation": {wish}}}}}"#);
            asks_for_a_title(body.as_bytes()).unwrap()
        };
        for wish in ["true", "1", "0.5", r#""no""#, "[0]", r#"{"a": 0}"#] {
            assert!(asks(wish), "{wish}");
        }
        for nothing in ["false", "null", "0", "0.0", r#""""#, "[]", "{}"] {
            assert!(!asks(nothing), "{nothing}");
        }
        assert!(!asks_for_a_title(b"{}").unwrap());
        let twice = br#"{"background_tasks": null, "background_tasks": {"title_generation": true}}"#;
        assert!(asks_for_a_title(twice).is_err(), "the application takes the last");
    }
}
