//! Writes the part of a program that starts: as it was, with slots in place of what is fetched later.

use super::program::Program;
use super::{Division, function_name, global_name, table_name};
use anyhow::Error as Told;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction, Module, TableSection,
};
use wasmparser::{
    CodeSectionReader, CustomSectionReader, ExportSectionReader, FunctionSectionReader, TableSectionReader,
};

type Written<T> = Result<T, Error<Told>>;

/// The first part of `program`, which is `read` and divided.
pub(super) fn write(program: &[u8], read: &Program<'_>, division: &Division) -> Written<Vec<u8>> {
    let mut module = Module::new();
    First { read, division }.parse_core_module(&mut module, wasmparser::Parser::new(0), program)?;
    Ok(module.finish())
}

struct First<'a> {
    read: &'a Program<'a>,
    division: &'a Division,
}

impl First<'_> {
    /// The function that fetches the later part unless it is here: the last one.
    fn gate(&self) -> Written<u32> {
        u32::try_from(self.read.functions.len()).map_err(|error| Error::UserError(error.into()))
    }

    /// What stands where a function of the later part stood.
    fn stub(&self, function: u32) -> Written<Function> {
        let mut stub = Function::new([]);
        let Some(slot) = self.division.slot(function) else {
            // Nothing of the first part calls it: the optimizer takes it away.
            stub.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
            return Ok(stub);
        };
        stub.instruction(&Instruction::Call(self.gate()?));
        let params = self.read.params(function).map_err(Error::UserError)?;
        for param in (0..).take(params.len()) {
            stub.instruction(&Instruction::LocalGet(param));
        }
        let type_index = self.read.type_of(function).map_err(Error::UserError)?;
        stub.instruction(&Instruction::I32Const(slot.cast_signed()));
        stub.instruction(&Instruction::CallIndirect { type_index, table_index: 0 });
        stub.instruction(&Instruction::End);
        Ok(stub)
    }
}

impl Reencode for First<'_> {
    type Error = Told;

    /// Names and notes of compilers are of no use any more.
    fn parse_custom_section(&mut self, _: &mut Module, _: CustomSectionReader<'_>) -> Written<()> {
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Written<()> {
        utils::parse_function_section(self, functions, section)?;
        functions.function(self.division.loader_type);
        Ok(())
    }

    fn parse_table_section(&mut self, tables: &mut TableSection, _: TableSectionReader<'_>) -> Written<()> {
        for table in self.division.tables(self.read) {
            tables.table(self.table_type(table)?);
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Written<()> {
        utils::parse_export_section(self, exports, section)?;
        for (place, &function) in self.division.shared.iter().enumerate() {
            exports.export(&function_name(place), ExportKind::Func, function);
        }
        exports.export(&self.division.memory, ExportKind::Memory, 0);
        for (index, table) in (0..).zip(0..self.read.tables.len()) {
            exports.export(&table_name(table), ExportKind::Table, index);
        }
        for (index, global) in (0..).zip(0..self.read.globals.len()) {
            exports.export(&global_name(global), ExportKind::Global, index);
        }
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: CodeSectionReader<'_>) -> Written<()> {
        for (function, body) in (self.read.first_body()..).zip(section) {
            if self.division.is_later(function) {
                code.function(&self.stub(function)?);
            } else {
                utils::parse_function_body(self, code, body?)?;
            }
        }
        let mut gate = Function::new([]);
        for instruction in [
            Instruction::I32Const(self.division.slots_from.cast_signed()),
            Instruction::TableGet(0),
            Instruction::RefIsNull,
            Instruction::If(wasm_encoder::BlockType::Empty),
            Instruction::Call(self.division.loader),
            Instruction::End,
            Instruction::End,
        ] {
            gate.instruction(&instruction);
        }
        code.function(&gate);
        Ok(())
    }
}
