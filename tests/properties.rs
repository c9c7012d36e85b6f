//! No input makes the loader of environment files panic.

use infra::{
    config::{LoadOptions, load_source},
    yaml::{Source, parse},
};
use proptest::prelude::*;

const SHIPPED: &str = include_str!("../envs/dev/config.yaml");

fn load(text: &str) {
    let source = Source::new("envs/dev/config.yaml", text);
    // Only that it answers at all is asked here.
    let _ = load_source(&source, &LoadOptions::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        load(&text);
    }

    #[test]
    fn yaml_like_text_is_answered(text in "[a-z0-9:{}\\[\\]\\-&*!|>'\"%@`,#\n ]{0,200}") {
        let _ = parse(&Source::new("t", text.as_str()));
        load(&text);
    }

    #[test]
    fn a_damaged_file_is_answered(at in 0..SHIPPED.len(), length in 0..40_usize, with in "[a-z:\\- \n{}\\[\\]0-9\"']{0,12}") {
        let mut at = at;
        while !SHIPPED.is_char_boundary(at) { at -= 1; }
        let mut end = (at + length).min(SHIPPED.len());
        while !SHIPPED.is_char_boundary(end) { end -= 1; }
        load(&format!("{}{with}{}", &SHIPPED[..at], &SHIPPED[end.max(at)..]));
    }
}
