//! Answers in XML as values: an element with elements in it is a mapping, one whose elements are all called `item` or `member`
//! is a list, as is `Things` whose elements are all called `Thing`; any other is a text. Empty elements are left out, since no one can tell what they would be.

use quick_xml::{Reader, events::Event};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The content of the outermost element.
///
/// # Errors
/// When the text is not XML.
pub(super) fn parse(text: &str) -> Result<Value> {
    let wrong = |error: String| Error::new(format!("aws: an answer that is not XML: {error}"));
    let mut reader = Reader::from_str(text);
    let mut stack: Vec<Element> = vec![Element::default()];
    loop {
        match reader.read_event().map_err(|error| wrong(error.to_string()))? {
            Event::Start(start) => {
                stack.push(Element { name: start.local_name().as_ref().to_owned(), ..Element::default() });
            }
            Event::Text(piece) => {
                top(&mut stack).text += &piece;
            }
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character.to_string(),
                    _ => quick_xml::escape::resolve_predefined_entity(&reference).unwrap_or_default().to_owned(),
                };
                top(&mut stack).text += &character;
            }
            Event::CData(data) => top(&mut stack).text += &data,
            Event::End(_) => {
                let ended = stack.pop().unwrap_or_default();
                let name = ended.name.clone();
                if let Some(value) = ended.value() {
                    top(&mut stack).children.push((name, value));
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let outermost = stack.into_iter().next().unwrap_or_default();
    Ok(outermost.children.into_iter().next().map_or(Value::Null, |(_, value)| value))
}

/// The elements of S3 that stand beside others and repeat.
fn repeats(name: &str) -> bool {
    name == "Contents"
}

#[derive(Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<(String, Value)>,
}

fn top(stack: &mut [Element]) -> &mut Element {
    stack.last_mut().expect("the outermost element stays")
}

impl Element {
    fn value(self) -> Option<Value> {
        if self.children.is_empty() {
            let text = self.text.trim();
            return (!text.is_empty()).then(|| text.into());
        }
        let element = |name: &str| {
            matches!(name, "item" | "member")
                || self.name.strip_suffix('s') == Some(name)
                || matches!(
                    (self.name.as_str(), name),
                    ("TagList", "Tag") | ("VpcSecurityGroups", "VpcSecurityGroupMembership") | ("groupSet", "groupId")
                )
        };
        if self.children.iter().all(|(name, _)| element(name)) {
            return Some(self.children.into_iter().map(|(_, value)| value).collect());
        }
        let mut fields = Map::new();
        for (name, value) in self.children {
            match fields.get_mut(&name) {
                // What repeats is a list, without an element around it.
                Some(Value::Array(items)) if repeats(&name) => items.push(value),
                _ if repeats(&name) => drop(fields.insert(name, Value::Array(vec![value]))),
                _ => drop(fields.insert(name, value)),
            }
        }
        Some(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn lists_mappings_texts_and_entities() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"x\"><vpcSet><item><vpcId>vpc-1</vpcId><tagSet/></item></vpcSet>\
                    <name>a &amp; b&#33;</name><empty/></R>";
        assert_eq!(parse(text).unwrap(), json!({ "vpcSet": [{ "vpcId": "vpc-1" }], "name": "a & b!" }));
        let text =
            "<R><DBInstances><DBInstance><TagList><Tag><Key>a</Key></Tag></TagList></DBInstance></DBInstances></R>";
        assert_eq!(parse(text).unwrap(), json!({ "DBInstances": [{ "TagList": [{ "Key": "a" }] }] }));
        let text = "<R><groupSet><groupId>sg-1</groupId><groupId>sg-2</groupId></groupSet></R>";
        assert_eq!(parse(text).unwrap(), json!({ "groupSet": ["sg-1", "sg-2"] }));
        let text = "<R><Name>b</Name><Contents><Key>a</Key></Contents><Contents><Key>b</Key></Contents></R>";
        assert_eq!(parse(text).unwrap(), json!({ "Name": "b", "Contents": [{ "Key": "a" }, { "Key": "b" }] }));
        assert!(parse("<a><b></a>").is_err());
    }
}
