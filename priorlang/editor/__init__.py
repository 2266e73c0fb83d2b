"""What an editor asks of the language, as pure functions of texts: no protocol in here but in two files.

    text ─words→ words ─slots→ roles ─occurrences→ names ─names→ definition, references, rename
                         └──────────→ completion

`workspace` holds the open texts and the Prior of each; `hover`, `outline` and `completion` answer
questions about a place in one of them. All of them work on a file that does not parse just now.
`protocol` turns places and findings into the types of the Language Server Protocol, and `server`
answers its messages; these two alone need pygls.
"""
