/** They stand beside the schema, because the client makes rows, too. */
export * from '../record/rows.ts'
