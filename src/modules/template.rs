//! `template`: a file that is rendered from a template beside the playbook.

use super::{
    Argument, Arguments, Call, Declared, FileCopy, Flag, Module, Operation, Reads, Text, declaration::arguments,
    write_file,
};
use crate::{
    error::{Error, Result},
    template::Layout,
};

pub(super) struct Template;

arguments! {
    struct TemplateArguments {
        /// The template.
        src: Text,
        /// The file or the folder of the host.
        dest: Text,
        /// Whether the line break after a block goes; it does where nothing is said.
        trim_blocks: Option<Flag>,
        /// Whether the white space before a block goes.
        lstrip_blocks: Option<Flag>,
        /// What ends a line of the file: `\\n`, `\\r\\n` or `\\r`.
        newline_sequence: Option<Text>,
        /// UTF-8.
        output_encoding: Option<Text>,
        #[serde(flatten)]
        file: FileCopy,
    }
}

impl Call for Template {
    fn name(&self) -> &'static str {
        "template"
    }

    fn about(&self) -> &'static str {
        "Writes a file that is rendered from a template beside the playbook."
    }

    fn arguments(&self) -> &'static [Argument] {
        TemplateArguments::ARGUMENTS
    }

    fn reads(&self) -> Option<Reads> {
        Some(Reads::Template("src"))
    }
}

impl Module for Template {
    fn operation(&self, task: &Arguments<'_>) -> Result<Box<dyn Operation>> {
        let arguments: TemplateArguments = super::read(task.named)?;
        let line_end = arguments.line_end()?;
        let utf_8 = |name: &&Text| name.as_str().to_lowercase().replace('-', "") == "utf8";
        if let Some(encoding) = arguments.output_encoding.as_ref().filter(|name| !utf_8(name)) {
            let encoding = encoding.as_str();
            return Err(Error::usage(format!(
                "`output_encoding: {encoding}` is not supported; files are written in UTF-8"
            )));
        }
        let src = arguments.src.as_str();
        let rendered = task.sources.template(src, arguments.layout())?;
        let text = match line_end {
            "\n" => rendered.text,
            line_end => rendered.text.replace('\n', line_end),
        };
        let name = src.rsplit('/').next().unwrap_or_default().trim_end_matches(".j2").to_owned();
        Ok(write_file(arguments.dest.as_str(), Some(name), text.into(), &arguments.file, rendered.mode))
    }
}

impl TemplateArguments {
    /// The layout of blocks.
    fn layout(&self) -> Layout {
        let usual = Layout::default();
        Layout {
            trim_blocks: self.trim_blocks.map_or(usual.trim_blocks, |wanted| wanted.0),
            lstrip_blocks: self.lstrip_blocks.map_or(usual.lstrip_blocks, |wanted| wanted.0),
        }
    }

    /// What ends a line of the file.
    fn line_end(&self) -> Result<&'static str> {
        match self.newline_sequence.as_ref().map(Text::as_str) {
            None | Some("\n" | "\\n") => Ok("\n"),
            Some("\r\n" | "\\r\\n") => Ok("\r\n"),
            Some("\r" | "\\r") => Ok("\r"),
            Some(other) => Err(Error::usage(format!("`newline_sequence: {other:?}` is not the end of a line"))),
        }
    }
}
