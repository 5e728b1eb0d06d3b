"""The bill of materials: what a target consists of, read from its bytes; written as CycloneDX, SPDX or a
table.

Nothing here loads a model, resolves a dependency or signs. Imports of this package cost nothing: use
`assay.collect.bom.build.collect` and `assay.collect.bom.documents`.
"""
