//! The events of a command with their times: kept beside the state for `infra trace` and `infra graph`, and written as JUnit's XML.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::event::{Ended, Event};

/// Something that took a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Whose it is: a resource such as `vm.app-1`, or a machine.
    pub subject: String,
    /// What it is: `created`, or the role and the name of a task.
    pub what: String,
    /// Whether it is a task of a playbook.
    pub task: bool,
    /// When it began, in seconds since the command did.
    pub begun: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How it ended.
    pub ended: Ended,
    /// What the host or the service said, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Its spans, in the order of their ends.
    pub spans: Vec<Span>,
}

impl Trace {
    /// Takes an event that came after this many seconds.
    pub fn take(&mut self, event: &Event, at: f64) {
        let (subject, what, task, seconds, ended, detail) = match event {
            Event::Finished { subject, done, ended, seconds, detail } => (subject, done, false, seconds, ended, detail),
            Event::TaskEnded { host, task, ended, seconds, detail, .. } => (host, task, true, seconds, ended, detail),
            _ => return,
        };
        self.spans.push(Span {
            subject: subject.clone(),
            what: what.clone(),
            task,
            begun: (at - seconds).max(0.0),
            seconds: *seconds,
            ended: *ended,
            detail: detail.clone().filter(|_| matches!(ended, Ended::Failed | Ended::Unreachable)),
        });
    }

    /// The same run with other texts: what a redactor makes of each.
    #[must_use]
    pub fn map_texts(self, change: impl Fn(&str) -> String) -> Self {
        let span = |span: Span| Span {
            subject: change(&span.subject),
            what: change(&span.what),
            detail: span.detail.as_deref().map(&change),
            ..span
        };
        Self { spans: self.spans.into_iter().map(span).collect() }
    }

    /// The run in the format of Chrome's trace viewer and of Perfetto: one row for each resource and machine.
    ///
    /// Source: "Trace Event Format", <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.
    #[must_use]
    pub fn to_chrome(&self) -> Value {
        let mut rows: Vec<&str> = Vec::new();
        for span in &self.spans {
            if !rows.contains(&span.subject.as_str()) {
                rows.push(&span.subject);
            }
        }
        let names = rows.iter().enumerate().map(|(row, name)| {
            json!({ "ph": "M", "name": "thread_name", "pid": 1, "tid": row + 1, "args": { "name": name } })
        });
        let spans = self.spans.iter().map(|span| {
            let row = rows.iter().position(|name| *name == span.subject).unwrap_or_default();
            json!({
                "ph": "X", "name": span.what, "cat": if span.task { "task" } else { "resource" }, "pid": 1, "tid": row + 1,
                "ts": micros(span.begun), "dur": micros(span.seconds), "args": { "ended": span.ended, "detail": span.detail },
            })
        });
        json!({ "displayTimeUnit": "ms", "traceEvents": names.chain(spans).collect::<Vec<_>>() })
    }

    /// The run as JUnit's XML: one suite for each resource and machine, one case for each step.
    #[must_use]
    pub fn to_junit(&self) -> String {
        let escape = |text: &str| quick_xml::escape::escape(text).into_owned();
        let mut suites: Vec<(&str, Vec<&Span>)> = Vec::new();
        for span in &self.spans {
            match suites.iter_mut().find(|(name, _)| *name == span.subject) {
                Some((_, spans)) => spans.push(span),
                None => suites.push((&span.subject, vec![span])),
            }
        }
        let failed = |span: &&&Span| matches!(span.ended, Ended::Failed | Ended::Unreachable);
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
        for (name, spans) in &suites {
            let failures = spans.iter().filter(failed).count();
            let seconds: f64 = spans.iter().map(|span| span.seconds).sum();
            text += &format!(
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" time=\"{seconds:.3}\">\n",
                escape(name),
                spans.len()
            );
            for span in spans {
                let head = format!(
                    "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
                    escape(name),
                    escape(&span.what),
                    span.seconds
                );
                let detail = escape(span.detail.as_deref().unwrap_or_default());
                text += &match span.ended {
                    Ended::Failed | Ended::Unreachable => format!(
                        "{head}>\n      <failure message=\"{}\">{detail}</failure>\n    </testcase>\n",
                        detail.lines().next().unwrap_or_default()
                    ),
                    Ended::Skipped => format!("{head}><skipped/></testcase>\n"),
                    _ => format!("{head}/>\n"),
                };
            }
            text += "  </testsuite>\n";
        }
        text + "</testsuites>\n"
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of seconds")]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::{Ended, Event, Trace};

    #[test]
    fn a_run_is_told_to_other_programs() {
        let mut trace = Trace::default();
        let made = Event::Finished {
            subject: "vm.a".into(),
            done: "created".into(),
            ended: Ended::Changed,
            seconds: 2.0,
            detail: None,
        };
        trace.take(&made, 2.5);
        let failed = Event::TaskEnded {
            host: "a".into(),
            task: "app : \"it\" <runs>".into(),
            ended: Ended::Failed,
            seconds: 1.0,
            detail: Some("exit code 1\nno such file".into()),
            diffs: Vec::new(),
        };
        trace.take(&failed, 4.0);
        let chrome = trace.to_chrome();
        assert_eq!(chrome["traceEvents"][2]["ts"], 500_000);
        assert_eq!(chrome["traceEvents"][3]["tid"], 2);
        insta::assert_snapshot!(trace.to_junit(), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
          <testsuite name="vm.a" tests="1" failures="0" time="2.000">
            <testcase classname="vm.a" name="created" time="2.000"/>
          </testsuite>
          <testsuite name="a" tests="1" failures="1" time="1.000">
            <testcase classname="a" name="app : &quot;it&quot; &lt;runs&gt;" time="1.000">
              <failure message="exit code 1">exit code 1
        no such file</failure>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }
}
