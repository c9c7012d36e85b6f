//! The arguments of `template`: those of the file come from `copy`, the others say how it is rendered.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    error::{Error, Result},
    modules::{self, FileCopy, Flag, Text},
    template::Layout,
};

/// The arguments of `template`, but for those of every file.
#[derive(Deserialize)]
pub(super) struct TemplateArguments {
    pub(super) src: Text,
    pub(super) dest: Text,
    trim_blocks: Option<Flag>,
    lstrip_blocks: Option<Flag>,
    newline_sequence: Option<Text>,
    output_encoding: Option<Text>,
}

impl TemplateArguments {
    /// The arguments, and how the file is written.
    pub(super) fn read(named: &Map<String, Value>) -> Result<(Self, FileCopy)> {
        let arguments: Self = modules::read(named)?;
        arguments.line_end()?;
        let utf_8 = |name: &&Text| name.as_str().to_lowercase().replace('-', "") == "utf8";
        if let Some(encoding) = arguments.output_encoding.as_ref().filter(|name| !utf_8(name)) {
            let encoding = encoding.as_str();
            return Err(Error::usage(format!(
                "`output_encoding: {encoding}` is not supported; files are written in UTF-8"
            )));
        }
        Ok((arguments, modules::read(named)?))
    }

    /// The layout of blocks.
    pub(super) fn layout(&self) -> Layout {
        let usual = Layout::default();
        Layout {
            trim_blocks: self.trim_blocks.map_or(usual.trim_blocks, |wanted| wanted.0),
            lstrip_blocks: self.lstrip_blocks.map_or(usual.lstrip_blocks, |wanted| wanted.0),
        }
    }

    /// What ends a line of the file.
    pub(super) fn line_end(&self) -> Result<&'static str> {
        match self.newline_sequence.as_ref().map(Text::as_str) {
            None | Some("\n" | "\\n") => Ok("\n"),
            Some("\r\n" | "\\r\\n") => Ok("\r\n"),
            Some("\r" | "\\r") => Ok("\r"),
            Some(other) => Err(Error::usage(format!("`newline_sequence: {other:?}` is not the end of a line"))),
        }
    }
}
