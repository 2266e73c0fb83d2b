"""A grid: methods, priors and seeds over one training file. YAML in, jobs and a table out.

    text ─load→ LoadedGrid ─cells→ Cell… ─keys, jobs→ Job… ─(dpsl.grid trains)→ run folders ─results→ table

`plan` holds the types of the file, `load` reads it, `cells` makes a training plan for each variant and seed,
`keys` says which stages are the same, `jobs` which are trained once for several cells, `results` reads what
came out, `paired` compares it and `table` writes it down. Nothing here imports torch.
"""
