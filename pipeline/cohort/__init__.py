"""Make a data set of a tree of patients: index, links, subjects, labels, plan, cases, layouts and table."""
