"""The language of programs as a grammar in Lark's notation, for constrained decoding.

A grammar has no names: it cannot know which are defined, how many arguments a function takes, or what a query is
called; the validator stays the judge. What it does: one statement a line, blocks by four spaces down to a depth, the
methods that are allowed and no other attribute, no import, no name that begins with an underscore. A line break carries
the indentation of the next line, so that the grammar needs no state beside it; comments and empty lines belong to it.
Within brackets, text may go over several lines.

It is written for llguidance, which has ``&`` and ``~`` on terminals.
"""

from tenfold.envs.programs.validator import METHODS

DEPTH = 5
_KEYWORDS = (
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except",
    "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise",
    "return", "try", "while", "with", "yield",
)  # fmt: skip
_LEVEL = r"""
body{k}: NL{k} statement{k} (NL{k} statement{k})*
statement{k}: simple | def{k} | if{k} | for{k} | while{k}
def{k}: ("@mem" NL{k})? "def " NAME LPAR parameters? RPAR ":" body{next}
if{k}: "if " expr ":" body{next} (NL{k} "elif " expr ":" body{next})* (NL{k} "else:" body{next})?
for{k}: "for " targets " in " expr ":" body{next}
while{k}: "while " expr ":" body{next}
"""
_LAST = r"""
body{k}: NL{k} simple (NL{k} simple)*
"""
_REST = r"""
simple: "return " exprs | assignment | "pass" | "break" | "continue" | STRING | call
assignment: targets (EQUALS exprs | AUGMENTED expr) | postfix subscript (EQUALS | AUGMENTED) expr
targets: NAME (COMMA NAME)*
exprs: expr (COMMA expr)*
call: postfix arguments | postfix METHOD arguments

expr: "lambda" (" " lambda_parameters)? COLON expr | or_test (" if " or_test " else " expr)?
or_test: and_test (" or " and_test)*
and_test: not_test (" and " not_test)*
not_test: "not " not_test | comparison
comparison: arithmetic (COMPARE arithmetic)*
arithmetic: unary (OPERATOR unary)*
unary: "-" unary | postfix
postfix: atom (arguments | METHOD arguments | subscript)*
arguments: LPAR (argument (COMMA argument)*)? RPAR
argument: NAME "=" expr | expr comprehension?
subscript: "[" expr? (":" expr?)? "]"
comprehension: (" for " targets " in " or_test (" if " or_test)*)+
atom: NAME | NUMBER | STRING | FSTRING | LPAR (expr (COMMA expr)* COMMA? | expr comprehension)? RPAR | list | braces
list: LSQUARE (expr comprehension | expr (COMMA expr)*)? RSQUARE
braces: LBRACE (item comprehension | item (COMMA item)* | expr comprehension | expr (COMMA expr)*)? RBRACE
item: expr COLON expr
parameters: parameter (COMMA parameter)*
parameter: NAME ("=" expr)?
lambda_parameters: NAME (COMMA NAME)*

NAME: (/[A-Za-z][A-Za-z0-9_]*/ & ~/{keywords}/) | "_"
NUMBER: /[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?/
STRING: /"[^"\\\n]*"/ | /'[^'\\\n]*'/
FSTRING: /f"([^"\\\n{{}}]|\{{[^"\\\n{{}}.]*\}})*"/
METHOD: /\.({methods})/
COMPARE: /( ?(==|!=|<=|>=|<|>) ?)| in | not in | is | is not /
OPERATOR: / ?(\*\*|\/\/|[-+*\/%]) ?/
EQUALS: / ?= ?/
AUGMENTED: / ?(\*\*|\/\/|[-+*\/%])= ?/
COLON: /: ?/
COMMA: /,[ \n]*/
LPAR: /\([ \n]*/
RPAR: /,?[ \n]*\)/
LSQUARE: /\[[ \n]*/
RSQUARE: /,?[ \n]*\]/
LBRACE: /\{{[ \n]*/
RBRACE: /,?[ \n]*\}}/
START: /([ ]*(#[^\n]*)?\n)*/
END: /([ ]*(#[^\n]*)?\n)*[ ]*(#[^\n]*)?/
"""


def program_grammar(depth: int = DEPTH) -> str:
    """The grammar, with blocks within blocks down to a depth.

    Example:
        >>> program_grammar(depth=2).splitlines()[0]
        'start: START? statement0 (NL0 statement0)* END?'
    """
    parts = ["start: START? statement0 (NL0 statement0)* END?"]
    for k in range(depth):
        parts.append(_LEVEL.format(k=k, next=k + 1))
    parts.append(_LAST.format(k=depth))
    parts.append(_REST.format(keywords="|".join(_KEYWORDS), methods="|".join(METHODS)))
    for k in range(depth + 1):
        parts.append(rf"NL{k}: /[ ]*(#[^\n]*)?\n([ ]*(#[^\n]*)?\n)*[ ]{{{4 * k}}}/")
    return "\n".join(parts) + "\n"
